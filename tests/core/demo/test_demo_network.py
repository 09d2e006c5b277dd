"""The bundled network in our own layers, against diffusers' implementation and its scheduler."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from uncertainty_nodes.core.demo.network import NO_CLASS, DemoNetwork, read_config, read_weights, sinusoids

diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def ours() -> DemoNetwork:
    network = DemoNetwork(read_config()["network"])
    network.load_state_dict(read_weights())
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    network = diffusers.UNet2DModel(**read_config()["network"])
    network.load_state_dict(read_weights())
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("size", [(32, 32), (16, 24)])
def test_it_predicts_what_diffusers_predicts(ours, theirs, size):
    x, t, labels = torch.randn(3, 1, *size), torch.tensor([0, 421, 999]), torch.tensor([0, 7, NO_CLASS])
    eps = ours(x, t, ours.class_context(labels))
    assert torch.allclose(eps, theirs(x, t, class_labels=labels).sample, rtol=1e-5, atol=1e-5)
    assert eps.std() > 0.3


def test_gradients_are_those_of_diffusers(ours, theirs):
    x, t, labels = torch.randn(2, 1, 32, 32, requires_grad=True), torch.tensor([300, 700]), torch.tensor([1, 2])
    (of_ours,) = torch.autograd.grad(ours(x, t, ours.class_context(labels)).square().sum(), x)
    (of_theirs,) = torch.autograd.grad(theirs(x, t, class_labels=labels).sample.square().sum(), x)
    assert torch.allclose(of_ours, of_theirs, rtol=1e-4, atol=1e-4)


def test_every_weight_and_dropout_of_diffusers_is_there(ours, theirs):
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    rates = [[m.p for m in n.modules() if isinstance(m, nn.Dropout) and m.p > 0] for n in (ours, theirs)]
    assert rates[0] == rates[1] != []


def test_the_class_and_its_context_matter(ours):
    x, t = torch.randn(1, 1, 32, 32), torch.tensor([500])
    one, two, both = (ours(x, t, ours.class_context(torch.tensor(c)).transpose(0, 1)) for c in ([3], [8], [3, 8]))
    assert not torch.allclose(one, two, atol=1e-2)
    assert not torch.allclose(one, both, atol=1e-2)
    repeated = ours(x, t, ours.class_context(torch.tensor([3])).repeat(1, 4, 1))  # how hosts match prompts of different length
    assert torch.allclose(one, repeated, atol=1e-5)


def test_layers_come_from_operations():
    class Operations:
        Conv2d, GroupNorm, Embedding = nn.Conv2d, nn.GroupNorm, nn.Embedding

        class Linear(nn.Linear):
            pass

    network = DemoNetwork(read_config()["network"], Operations, device="meta", dtype=torch.float16)
    linears = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert linears and all(type(m) is Operations.Linear for m in linears)
    assert network.dtype == torch.float16 and all(p.is_meta and p.dtype == torch.float16 for p in network.parameters())


def test_sinusoids_in_closed_form():
    assert torch.allclose(
        sinusoids(torch.tensor([0.0, 2.0]), 4), torch.tensor([[1, 1, 0, 0], [-0.41614684, 0.99980001, 0.90929743, 0.01999867]])
    )
