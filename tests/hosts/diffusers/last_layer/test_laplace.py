"""The Laplace fit on diffusers networks against diffusers' own noising and one backward pass through the whole network per sample."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler, KarrasVeScheduler
from torch import Tensor, nn

import tiny_pipelines as tiny
from references_bayes import as_matrix, parameters
from uncertainty_nodes.core.last_layer.find import get_layer
from uncertainty_nodes.core.last_layer.fit import draw
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.options import LaplaceOptions
from uncertainty_nodes.hosts.diffusers.last_layer.laplace import fit_laplace, network_training

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own deprecations
SHAPE = (4, tiny.SIZE, tiny.SIZE)


def prompt(count: int) -> dict[str, Tensor]:
    return {"encoder_hidden_states": tiny.embeddings(count, tiny.TOKENS, 16)}


def classes(count: int) -> dict[str, Tensor]:
    return {"class_labels": torch.arange(count)}


NETWORKS = {  # a pipeline, and the conditions of so many samples
    "SD": (tiny.sd, prompt),
    "SD v": (tiny.sd_v, prompt),
    "SDXL": (
        tiny.sdxl,
        lambda n: prompt(n) | {"added_cond_kwargs": {"text_embeds": tiny.embeddings(n, 12), "time_ids": torch.ones(n, 6)}},
    ),
    "SD3": (tiny.sd3, lambda n: prompt(n) | {"pooled_projections": tiny.embeddings(n, 12)}),
    "DiT": (tiny.dit, classes),
}


def rows(cond: dict[str, Any], part: slice) -> dict[str, Any]:
    return {name: rows(value, part) if isinstance(value, dict) else value[part] for name, value in cond.items()}


def loss_of(network: nn.Module, scheduler: Any, x0: Tensor, n: Tensor, level: int, cond: dict[str, Any]) -> Tensor:
    """The training loss of one sample (1, C, H, W) at the level-th noise level, in diffusers' words."""
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        sigma = FlowMatchEulerDiscreteScheduler(shift=scheduler.config.shift).sigmas.flip(0)[level]
        t, x, target = sigma * 1000, (1 - sigma) * x0 + sigma * n, n - x0
    else:
        noising, t = DDPMScheduler.from_config(scheduler.config), torch.tensor(level)
        x = noising.add_noise(x0, n, t[None])
        target = n if scheduler.config.prediction_type == "epsilon" else noising.get_velocity(x0, n, t[None])
    name = "sample" if hasattr(network, "conv_out") else "hidden_states"
    output = network(**{name: x}, timestep=t.view(1), **cond, return_dict=False)[0]
    return (output[:, : x0.shape[1]] - target).square().sum()


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_fit_is_that_of_a_backward_pass_per_sample(kind):
    make, conditions = NETWORKS[kind]
    pipe, count = make(), 5
    network, scheduler = pipe.network, pipe.pipe.scheduler
    x0, cond = tiny.embeddings(count, *SHAPE, seed=7), conditions(count)
    found = fit_laplace(network, scheduler, [(x0[part], rows(cond, part)) for part in (slice(0, 3), slice(3, 5))], LaplaceOptions(seed=4))
    levels = network_training(network, scheduler).levels
    layer, expected = get_layer(network, found.identity.name), 0.0
    for i in range(count):
        sigma, n = draw(x0[i : i + 1], levels, LaplaceOptions(seed=4), i, 0)
        level = int((levels - sigma).abs().argmin())
        loss = loss_of(network, scheduler, x0[i : i + 1], n, level, rows(cond, slice(i, i + 1)))
        expected = expected + as_matrix(*torch.autograd.grad(loss, parameters(layer))).double().square()
    assert found.samples == count
    torch.testing.assert_close(found.curvature.squares, expected, rtol=2e-3, atol=1e-5 * float(expected.max()))


def test_levels_are_those_that_the_scheduler_trains_with():
    network = tiny.unet()
    vp = DDPMScheduler(beta_schedule="scaled_linear")
    clean, n = torch.zeros(1000, 1, 1, 1), torch.ones(1000, 1, 1, 1)
    torch.testing.assert_close(network_training(network, vp).levels, vp.add_noise(clean, n, torch.arange(1000)).flatten())
    flow = FlowMatchEulerDiscreteScheduler(shift=3.0)
    torch.testing.assert_close(network_training(tiny.sd3().network, flow).levels, flow.sigmas.flip(0))


def test_a_fit_in_parts_and_from_a_file_is_the_whole_fit(demo, tmp_path):
    data = [(torch.full((2, 1, 32, 32), float(i) / 3 - 1), {"class_labels": torch.tensor([i, i + 1])}) for i in range(3)]
    whole = fit_laplace(*demo, data)
    fit_laplace(*demo, data[:2]).save(tmp_path / "part.safetensors")
    resumed = fit_laplace(*demo, data, resume=Laplace.load(tmp_path / "part.safetensors"))
    assert resumed.samples == whole.samples == 6
    torch.testing.assert_close(resumed.curvature.squares, whole.curvature.squares)
    half = (tmp_path / "part.safetensors").read_bytes()
    (tmp_path / "part.safetensors").write_bytes(half[: len(half) // 2])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        Laplace.load(tmp_path / "part.safetensors")


def test_fitting_leaves_the_network_as_it_was(demo):
    network = demo[0]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    hooks = [len(m._forward_hooks) for m in network.modules()]
    fit_laplace(*demo, [(torch.zeros(2, 1, 32, 32), {"class_labels": torch.tensor([1, 2])})])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert [len(m._forward_hooks) for m in network.modules()] == hooks
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())


def test_bad_input_is_refused_in_a_sentence(demo, monkeypatch):
    network, scheduler = demo
    x, one = torch.zeros(2, 1, 32, 32), {"class_labels": torch.tensor([1, 2])}
    with pytest.raises(ValueError, match="at least 2 training samples, got none"):
        fit_laplace(network, scheduler, [])
    with pytest.raises(ValueError, match="at least 2 training samples, got 1"):
        fit_laplace(network, scheduler, [(x[:1], {"class_labels": torch.tensor([1])})])
    with pytest.raises(ValueError, match="Training sample 1 gives NaN or infinite values in the last layer"):
        fit_laplace(network, scheduler, [(torch.stack([x[0], x[1] * math.nan]), one)])
    with pytest.raises(ValueError, match="KarrasVeScheduler has no closed alpha and sigma"):
        network_training(network, KarrasVeScheduler())
    other = DDIMScheduler.from_config(scheduler.config, beta_end=0.01)
    fitted = fit_laplace(network, scheduler, [(x, one)])
    with pytest.raises(ValueError, match="other weights of layer 'conv_out'|another architecture"):
        fit_laplace(tiny.unet(), other, [(torch.zeros(2, *SHAPE), prompt(2))], resume=fitted)
    monkeypatch.setattr(network.mid_block.resnets[0].dropout, "training", True)
    with pytest.raises(ValueError, match="train mode"):
        network_training(network, scheduler)
