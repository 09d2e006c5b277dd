"""Fitting, saving and loading a Laplace posterior on a real ComfyUI."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from comfy_bayes import demo_scene, examples, fit
from comfy_client import PromptFailed, PromptRefused
from comfy_events import Events
from comfy_scenes import FAMILIES, Scene, scene
from comfy_server import Server
from uncertainty_nodes.core.demo_network import DemoNetwork, read_config, read_weights
from uncertainty_nodes.core.denoiser import Prediction, Process
from uncertainty_nodes.core.extractor import load_reference
from uncertainty_nodes.core.laplace import Laplace
from uncertainty_nodes.core.laplace_fit import Training
from uncertainty_nodes.core.laplace_fit import fit as core_fit
from uncertainty_nodes.core.options import LaplaceOptions


def saved(comfy: Server, s: Scene, laplace: object, name: str) -> Laplace:
    """What Save Last-Layer Laplace has written."""
    s.graph.node("UQ_SaveLaplace", laplace=laplace, name=name)
    comfy.run(s.graph)
    return Laplace.load(comfy.base / "output" / "uncertainty" / "laplace" / f"{name}.safetensors")


def demo_training() -> tuple[DemoNetwork, Training]:
    """The demo model without any host, in ComfyUI's coordinates, asked for a 3."""
    config = read_config()
    network = DemoNetwork(config["network"])
    network.load_state_dict(read_weights())
    network.eval().requires_grad_(False)
    process = config["process"]
    alphas = torch.cumprod(1 - torch.linspace(process["beta_start"], process["beta_end"], 1000, dtype=torch.float64), 0)
    sigmas = ((1 - alphas) / alphas).sqrt().float()

    def predict(x: torch.Tensor, sigma: torch.Tensor, cond: object) -> torch.Tensor:
        t = (sigma.log()[:, None] - sigmas.log()[None]).abs().argmin(dim=1)
        labels = torch.full((len(x),), 3)
        return network(x / (1 + sigma**2).sqrt().view(-1, 1, 1, 1), t, network.class_context(labels))

    return network, Training(predict, Process.VE, Prediction.EPS, sigmas)


@pytest.mark.parametrize("covariance", ["diagonal", "kronecker"])
def test_a_fit_is_the_one_made_without_comfyui(comfy: Server, covariance: str) -> None:
    s, demo = demo_scene()
    found = saved(comfy, s, fit(s, demo[5], covariance=covariance, draws=2, batch_size=16), f"demo_{covariance}")
    network, training = demo_training()
    reference = load_reference()
    digits = reference.images[reference.labels == 3]
    options = LaplaceOptions(covariance=found.options.covariance, draws=2, seed=5)
    expected = core_fit(network, training, [(part, None) for part in digits.split(16)], options)
    assert found.identity == expected.identity and found.seen == expected.seen == len(digits)
    assert found.options == options
    for name, value in expected.curvature.tensors().items():
        torch.testing.assert_close(found.curvature.tensors()[name], value, rtol=1e-3, atol=1e-6 * float(value.abs().max()))


LAST = {"eps": "out.2", "v": "out.2", "edm": "out.2", "flow": "final_layer.linear", "flux": "final_layer.linear", "video": "head.head"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_model_is_fitted_at_its_last_layer(comfy: Server, family: str) -> None:
    s = scene(family)
    shape = {"batch": 3, "channels": FAMILIES[family].channels, "frames": FAMILIES[family].frames, "height": 8, "width": 8}
    latents = s.graph.node("UQTest_RandomLatent", seed=2, scale=1.0, salt=0, **shape)
    found = saved(comfy, s, fit(s, latents, batch_size=2), f"family_{family}")
    assert found.identity.name == LAST[family] and found.seen == 3
    assert found.curvature.squares.isfinite().all() and bool((found.curvature.squares > 0).all())
