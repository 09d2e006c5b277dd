"""Generative Uncertainty, BayesDiff and Dropout Uncertainty on a real ComfyUI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from comfy_bayes import bayesdiff, demo_scene, demo_training, fit, generative
from comfy_graph import Node
from comfy_scenes import Scene
from comfy_server import Server
from comfy_uncertainty import samples, save, save_uncertainty, uncertainty
from uncertainty_nodes.core.bayesdiff import Propagation
from uncertainty_nodes.core.demo_network import NO_CLASS
from uncertainty_nodes.core.denoiser import Prediction, Process
from uncertainty_nodes.core.extractor import load_extractor
from uncertainty_nodes.core.generative import estimate_generative
from uncertainty_nodes.core.laplace import Laplace
from uncertainty_nodes.core.linear_steps import ddim_step, dpmpp_2m_step
from uncertainty_nodes.core.options import BayesDiffOptions, DrawOptions, GenerativeOptions

STEPS = 5
COORDINATES = Process.VE, Prediction.EPS
DEMO = {"steps": STEPS, "scheduler": "simple", "cfg": 1.0}


def simple_sigmas(sigmas: Tensor, steps: int = STEPS) -> list[float]:
    """ComfyUI's scheduler of that name."""
    return [float(sigmas[-(1 + int(i * len(sigmas) / steps))]) for i in range(steps)] + [0.0]


def start(batch: int, sigma: float) -> Tensor:
    """KSampler's noise of seed 1, at the top of the schedule."""
    return torch.randn(batch, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * (1 + sigma**2) ** 0.5


def fitted_demo(comfy: Server, s: Scene, demo: Node, name: str, **options: Any) -> tuple[Node, Callable[[], Laplace]]:
    """A node that fits and saves, and what reads the file after the run."""
    node = s.graph.node("UQ_SaveLaplace", laplace=fit(s, demo[5], batch_size=64, **options), name=name)
    return node, lambda: Laplace.load(comfy.base / "output" / "uncertainty" / "laplace" / f"{name}.safetensors")


def digit_features(images: Tensor) -> Tensor:
    return load_extractor().features(2 * F.avg_pool2d(images.mean(1, keepdim=True), 8) - 1)


@pytest.mark.parametrize("member_steps", [0, 3])
def test_generative_uncertainty_is_the_one_computed_without_comfyui(comfy: Server, member_steps: int) -> None:
    s, demo = demo_scene(batch=3, salt=member_steps)
    laplace, load = fitted_demo(comfy, s, demo, f"generative_{member_steps}")
    node = generative(s, laplace, demo[3], member_steps=member_steps, **DEMO)
    drawn = s.graph.node("KSampler", **sampling_of(s, node))
    picture = s.graph.node("VAEDecode", samples=drawn, vae=demo[3])
    pictures = [s.graph.node("UQTest_SaveValue", value=value) for value in (node[1], picture)]
    ours, stock, found = save(s, node), save(s, drawn), save_uncertainty(s, node[2])
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, ours), samples(comfy, history, stock))
    assert comfy.value(history, pictures[0]) == comfy.value(history, pictures[1])

    network, training = demo_training(3)
    sigmas = simple_sigmas(training.levels, member_steps or STEPS)

    def draw() -> Tensor:
        x = start(3, sigmas[0])
        with torch.no_grad():
            for sigma, after in zip(sigmas, sigmas[1:], strict=False):
                x = x + (after - sigma) * training.predict(x, torch.full((3,), sigma), None)
        grey = F.interpolate(x, scale_factor=8, mode="bicubic")
        return (grey / 2 + 0.5).clamp(0, 1).expand(-1, 3, -1, -1)

    options = GenerativeOptions(members=2, member_steps=member_steps, seed=1)
    expected = estimate_generative(draw, digit_features, network, load(), options).result
    result = comfy.value(history, found)[0]
    assert result["scores"] == pytest.approx(expected.scores.tolist(), abs=2e-2)
    assert result["nfe"] == (3 * 3 if member_steps else 2 * STEPS)
    assert result["maps"]["shape"] == [3, 3, 256, 256] and result["direction"] == "high_is_bad"
    assert result["provenance"]["encoder"] == "digit-cnn-64" and "caution" not in result["provenance"]


def sampling_of(s: Scene, node: Node) -> dict[str, Any]:
    names = ("model", "seed", "steps", "cfg", "sampler_name", "scheduler", "positive", "negative", "latent_image", "denoise")
    return {name: s.graph[str(node)]["inputs"][name] for name in names}


@pytest.mark.parametrize(("sampler", "cfg", "skip"), [("euler", 1.0, 1), ("dpmpp_2m", 1.0, 2), ("ddim", 2.5, 1), ("dpmpp_2m", 2.5, 3)])
def test_bayesdiff_is_the_one_computed_without_comfyui(comfy: Server, sampler: str, cfg: float, skip: int) -> None:
    s, demo = demo_scene(batch=2)
    laplace, load = fitted_demo(comfy, s, demo, f"bayesdiff_{sampler}_{cfg}_{skip}")
    node = bayesdiff(s, laplace, **DEMO | {"sampler_name": sampler, "cfg": cfg, "skip": skip, "draws": 4})
    drawn = s.graph.node("KSampler", **sampling_of(s, node))
    ours, stock, found = save(s, node), save(s, drawn), save_uncertainty(s, node[1])
    log = len(comfy.log())
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, ours), samples(comfy, history, stock))
    assert "was off the linear step" not in comfy.log()[log:]

    network, *trainings = demo_training(*[3, NO_CLASS][: 1 if cfg == 1 else 2])
    posterior, sigmas = load().posterior(network), simple_sigmas(trainings[0].levels)
    run = Propagation(BayesDiffOptions(draws=DrawOptions(4, seed=1), every=skip), *COORDINATES)
    weights = [1.0] if cfg == 1 else [cfg, 1 - cfg]

    def eps(x: Tensor, sigma: Tensor) -> Tensor:
        return sum(w * t.predict(x, sigma, None) for w, t in zip(weights, trainings, strict=True))

    @torch.no_grad()
    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return x - sigma.view(-1, 1, 1, 1) * eps(x, sigma)

    x, before, x0_before = start(2, sigmas[0]), None, None
    for sigma, after in zip(sigmas, sigmas[1:], strict=False):
        level = torch.full((2,), sigma)
        calls = [lambda t=t, x=x, level=level: t.predict(x, level, None) for t in trainings]
        linear = dpmpp_2m_step(sigma, after, before, *COORDINATES) if sampler == "dpmpp_2m" else ddim_step(sigma, after, *COORDINATES)
        run.advance(denoise, x, level, linear, lambda calls=calls: posterior.predict_mix(calls, weights)[1])
        with torch.no_grad():
            y = eps(x, level)
        x0 = x - sigma * y
        x = linear.a * x + linear.b * y + (linear.c * x0_before if linear.c else 0)
        before, x0_before = sigma, x0
    expected, result = run.result(), uncertainty(comfy, history, found)
    assert torch.allclose(samples(comfy, history, ours), x, atol=1e-3)
    assert result["scores"] == pytest.approx(expected.scores.tolist(), rel=2e-2)
    torch.testing.assert_close(torch.tensor(result["curve"]), expected.curve, rtol=2e-2, atol=0)
    measured = -(-STEPS // skip)
    assert result["nfe"] == (measured + (measured - 1) * 4) * len(weights)
