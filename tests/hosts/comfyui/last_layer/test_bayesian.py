"""Generative Uncertainty, BayesDiff and Dropout Uncertainty on a real ComfyUI: what they compute."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from comfy_bayes import bayesdiff, clip, decoder, demo_scene, demo_training, dropout, fit, fitted, generative
from comfy_graph import Node
from comfy_scenes import FAMILIES, Scene, ksampler, scene
from comfy_server import Server
from comfy_uncertainty import samples, save, save_uncertainty, uncertainty
from uncertainty_nodes.core.demo.extractor import load_extractor
from uncertainty_nodes.core.demo.network import NO_CLASS
from uncertainty_nodes.core.denoiser import Prediction, Process
from uncertainty_nodes.core.last_layer.bayesdiff import Propagation
from uncertainty_nodes.core.last_layer.generative import estimate_generative
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.last_layer.linear_steps import ddim_step, dpmpp_2m_step
from uncertainty_nodes.core.options import BayesDiffOptions, DrawOptions, DropoutOptions, GenerativeOptions, StepWindow
from uncertainty_nodes.core.pixelwise.mc_dropout import estimate_dropout as estimate_dropout

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


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tokens", [(7, 7), (7, 5)])
def test_every_kind_of_model_is_scored_and_drawn_as_ever(comfy: Server, family: str, tokens: tuple[int, int]) -> None:
    if family == "video" and tokens == (7, 5):
        pytest.skip("one is enough: videos take long")
    s = scene(family, batch=2, tokens=tokens, salt=tokens[1])
    laplace = fitted(s, family)
    drawn, one, other = ksampler(s), generative(s, laplace, decoder(s), clip_vision=clip(s)), bayesdiff(s, laplace, cfg=4.0)
    kept = [save(s, node) for node in (drawn, one, other)]
    found = [save_uncertainty(s, node) for node in (one[2], other[1])]
    history = comfy.run(s.graph)
    stock, *ours = (samples(comfy, history, node) for node in kept)
    assert all(torch.equal(latent, stock) for latent in ours)
    semantic, pixels = (comfy.value(history, node)[0] for node in found)
    assert len(semantic["scores"]) == 2 and min(semantic["total"]) > 0 and semantic["finite"]
    assert semantic["provenance"]["features"] == "16" and semantic["nfe"] == 2 * 4 * 2
    assert pixels["finite"] and pixels["positive"] and min(pixels["scores"]) > 0
    assert pixels["maps"]["shape"] == list(stock.shape)
    assert pixels["nfe"] == (4 + 3 * 3) * 2


SCALES = {"eps": 0.18215, "v": 0.18215, "edm": 0.18215, "flow": 1.5305}


@pytest.mark.parametrize(("family", "cfg"), [("eps", 1.0), ("v", 3.0), ("edm", 1.0), ("flow", 3.0)])
def test_the_variance_after_one_step_is_that_over_weight_draws(comfy: Server, family: str, cfg: float) -> None:
    s = scene(family, batch=2, tokens=(7, 7))
    laplace = fitted(s, family, prior_precision=10.0)
    brute = generative(s, laplace, decoder(s, raw=True), clip_vision=clip(s), members=80, steps=1, cfg=cfg)
    exact = bayesdiff(s, laplace, steps=1, cfg=cfg)
    found = [save_uncertainty(s, node) for node in (brute[2], exact[1])]
    history = comfy.run(s.graph)
    drawn, carried = (torch.tensor(comfy.value(history, node)[0]["total"]) for node in found)
    torch.testing.assert_close(drawn * SCALES[family] ** 2, carried, rtol=0.15, atol=0)


def test_trained_weights_for_certain_leave_nothing_to_differ(comfy: Server) -> None:
    s = scene("flow", batch=2)
    laplace = fitted(s, prior_precision=1e30)
    one, other = generative(s, laplace, decoder(s, raw=True), clip_vision=clip(s)), bayesdiff(s, laplace, cfg=4.0)
    found = [save_uncertainty(s, node) for node in (one[2], other[1])]
    history = comfy.run(s.graph)
    semantic, pixels = (comfy.value(history, node)[0] for node in found)
    assert semantic["total"] == [0.0, 0.0]  # all members are one image, bit for bit
    least = 8 * math.log(1e-3) + 8 * (1 + math.log(2 * math.pi))
    assert semantic["scores"] == pytest.approx([least, least], abs=1e-3)
    assert pixels["scores"] == pixels["total"] == [0.0, 0.0]


def test_repainting_leaves_what_is_kept_certain(comfy: Server) -> None:
    s, demo = demo_scene(batch=2)
    laplace, _ = fitted_demo(comfy, s, demo, "repainting")
    first = bayesdiff(s, laplace, **DEMO)
    mask = s.graph.node("SolidMask", value=0.0, width=256, height=256)
    masked = s.graph.node("SetLatentNoiseMask", samples=first, mask=mask)
    whole = s.graph.node("SetLatentNoiseMask", samples=first, mask=s.graph.node("SolidMask", value=1.0, width=256, height=256))
    again = [bayesdiff(s.having(latent=latent), laplace, **DEMO | {"sampler_name": "euler"}) for latent in (masked, whole, first)]
    kept = [save(s, node) for node in (again[0], s.graph.node("KSampler", **sampling_of(s, again[0])))]
    found = [save_uncertainty(s, node[1]) for node in again]
    history = comfy.run(s.graph)
    assert torch.equal(*(samples(comfy, history, node) for node in kept))
    nothing, everything, plain = (comfy.value(history, node)[0] for node in found)
    assert nothing["total"] == nothing["scores"] == [0.0, 0.0]
    assert everything["scores"] == pytest.approx(plain["scores"], rel=1e-4)


def test_dropout_is_the_one_computed_without_comfyui(comfy: Server) -> None:
    s, _ = demo_scene(batch=2)
    drawn = ksampler(s, cfg=1.0)
    node = dropout(s, drawn)
    given, kept, found = save(s, drawn), save(s, node), save_uncertainty(s, node[1])
    scores = s.graph.node("UQTest_SaveValue", value=node[3])
    history = comfy.run(s.graph)
    latents = samples(comfy, history, given)
    assert torch.equal(latents, samples(comfy, history, kept))
    result = uncertainty(comfy, history, found)

    network, training = demo_training(3)
    options = DropoutOptions(DrawOptions(3, seed=7), StepWindow(0.6, 0.75))

    @torch.no_grad()
    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return x - sigma.view(-1, 1, 1, 1) * training.predict(x, sigma, None)

    expected = estimate_dropout(network, denoise, latents, result["sigmas"], Process.VE, options)
    assert result["scores"] == pytest.approx(expected.scores.tolist(), rel=1e-3) == comfy.value(history, scores)
    assert result["nfe"] == 6 and result["quantity"] == "mc_dropout"
