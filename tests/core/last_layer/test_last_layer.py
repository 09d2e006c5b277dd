"""Which layer is the last, and what it is as a matrix."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from references_bayes import (
    TinyMLP,
    TinyTransformer,
    TinyUNet,
    as_matrix,
    each_network,
    fitted,
    last,
    make,
    parameters,
    patch_source,
)
from uncertainty_nodes.core.denoiser import Prediction, Process
from uncertainty_nodes.core.last_layer.find import find_last_layer
from uncertainty_nodes.core.last_layer.fit import Training
from uncertainty_nodes.core.last_layer.layer_algebra import apply, input_patches, positions, split


@pytest.mark.parametrize(("make", "name"), [(TinyUNet, "conv_out"), (TinyTransformer, "final_layer.linear"), (TinyMLP, "proj_out")])
def test_last_layer_is_found_by_name_and_told(make, name, caplog):
    with caplog.at_level("INFO"):
        assert find_last_layer(make()) == name
    assert name in caplog.text


def test_names_of_real_networks():
    def module(**children):
        made = nn.Module()
        for name, child in children.items():
            setattr(made, name, child)
        return made

    adm = module(out=nn.Sequential(nn.GroupNorm(1, 4), nn.SiLU(), nn.Conv2d(4, 2, 3)))
    uvit = module(decoder_pred=nn.Linear(4, 4), final_layer=nn.Conv2d(2, 2, 3))
    dit = module(proj_out_1=nn.Linear(4, 8), proj_out_2=nn.Linear(4, 4))
    unet = module(proj_out=nn.Identity(), up=module(proj_out=nn.Conv2d(4, 4, 1)), conv_out=nn.Conv2d(4, 2, 3))
    assert [find_last_layer(n) for n in (adm, uvit, dit, unet)] == ["out.2", "decoder_pred", "proj_out_2", "conv_out"]


class Backwards(nn.Module):
    """Its layers act in the other order than they are named in."""

    def __init__(self):
        super().__init__()
        self.second, self.first, self.never = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x, sigma=None, cond=None):
        return torch.relu(self.second(torch.relu(self.first(x))))


def test_last_layer_is_the_last_to_act_where_no_name_is_known():
    network = Backwards()
    assert find_last_layer(network, run=lambda: network(torch.ones(1, 4))) == "second"
    assert find_last_layer(network, "first") == "first"
    assert fitted(network, (4,)).identity.name == "second"
    assert not any(m._forward_hooks for m in network.modules())


def test_training_and_layers_refuse_in_a_sentence():
    for levels in (torch.tensor([]), torch.tensor([0.0, 1.0]), torch.tensor([torch.nan])):
        with pytest.raises(ValueError, match="levels must be a list of noise levels above 0"):
            Training(TinyUNet(), Process.VP, Prediction.EPS, levels)
    with pytest.raises(ValueError, match="VP coordinates, got process 've'"):
        Training(TinyUNet(), Process.VE, Prediction.V, torch.ones(1))
    with pytest.raises(ValueError, match="last layer of Backwards has no name that is known; give its name as layer"):
        find_last_layer(Backwards())
    with pytest.raises(ValueError, match="grouped convolution .2 groups."):
        find_last_layer(nn.ModuleDict({"conv_out": nn.Conv2d(4, 4, 3, groups=2)}))
    with pytest.raises(ValueError, match="not in memory .offloaded."):
        find_last_layer(nn.ModuleDict({"conv_out": nn.Conv2d(4, 4, 3, device="meta")}))
    with pytest.raises(ValueError, match="No convolution or linear layer of Identity took part"):
        find_last_layer(nn.Identity(), run=lambda: None)


@each_network
def test_parameters_of_a_layer_are_those_of_its_matrix(kind):
    """The matrix form and the layer are one map."""
    layer = last(make(kind)[0])
    matrix = as_matrix(*[p.detach() for p in parameters(layer)])
    features = torch.randn(2, *patch_source(layer))
    y = layer(features)
    torch.testing.assert_close(matrix @ input_patches(layer, features), positions(layer, y))
    torch.testing.assert_close(apply(layer, features, *split(layer, matrix)), y)
