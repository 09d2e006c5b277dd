"""What ComfyUI is told agrees with core on the same network, with itself in the loop and after it, and for each image alone."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from comfy_graph import Graph
from comfy_scenes import Scene, ksampler, scene
from comfy_server import Server
from comfy_uncertainty import ESTIMATE, estimator, guided_sampler, read, record, samples, save, save_uncertainty, uncertainty
from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions, Quantity
from uncertainty_nodes.core.pixelwise.aleatoric import estimate_aleatoric
from uncertainty_nodes.hosts.diffusers.demo import load_demo, predict


def demo_scene(digit: int, batch: int) -> Scene:
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=digit, batch_size=batch)
    return Scene(g, demo, demo[1], demo[2], demo[4])


@pytest.mark.parametrize("cfg", [1.0, 2.0])
@pytest.mark.parametrize("quantity", Quantity)
def test_scores_are_those_of_core_on_the_same_network(comfy: Server, quantity: Quantity, cfg: float) -> None:
    s = demo_scene(3, 4)
    latent = ksampler(s, steps=10, cfg=1.0)
    negative = {"negative": s.negative} if cfg != 1 else {}
    found = save_uncertainty(s, estimator(s, latent, quantity=quantity.value, samples=4, cfg=cfg, **negative)[1])
    saved = save(s, latent)
    history = comfy.run(s.graph)
    told = comfy.value(history, found)[0]
    network, scheduler = load_demo()
    levels = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt()

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        t = (levels.log() - sigma[0].log()).abs().argmin()
        with torch.no_grad():
            eps = predict(network, x / (1 + sigma[0] ** 2).sqrt(), t, torch.full((len(x),), 3), cfg)
        return x - sigma[0] * eps

    options = AleatoricOptions(DrawOptions(4, ESTIMATE["seed"]), quantity=quantity)
    expected = estimate_aleatoric(denoise, samples(comfy, history, saved), told["sigmas"], Process.VE, options)
    assert torch.allclose(torch.tensor(told["scores"]), expected.scores, rtol=1e-3)
    assert torch.allclose(torch.tensor(told["curve"]), expected.curve, rtol=1e-3)
    assert told["direction"] == expected.direction.value


def test_in_the_loop_and_afterwards_images_rank_alike(comfy: Server) -> None:
    s = demo_scene(8, 32)
    window = {"samples": 8, "start_percent": 0.8, "end_percent": 0.95}
    watched, patch = record(s, **window)
    latent = ksampler(watched, steps=20, cfg=1.0)
    inside, after = read(s, latent, patch), save_uncertainty(s, estimator(s, latent, levels=3, **window)[1])
    history = comfy.run(s.graph)
    scores = [uncertainty(comfy, history, node)["scores"] for node in (inside, after)]
    assert len(scores[0]) == 32
    assert spearmanr(*scores).statistic >= 0.9


def test_an_image_is_measured_and_guided_alike_in_company_and_alone(comfy: Server) -> None:
    scores, latents = [], []
    for indexes, place in (("0,1,2", 1), ("1", 0)):
        s = scene("flow", batch=len(indexes.split(",")))
        s = s.having(latent=s.graph.node("UQTest_BatchIndex", latent=s.latent, indexes=indexes))
        drawn = guided_sampler(s)
        guided, saved = save_uncertainty(s, drawn[1]), save(s, drawn)
        watched, patch = record(s)
        recorded = read(s, ksampler(watched), patch)
        history = comfy.run(s.graph)
        latents.append(samples(comfy, history, saved)[place])
        scores.append([uncertainty(comfy, history, node)["scores"][place] for node in (guided, recorded)])
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)
    assert latents[0].std() > 0.5
    assert torch.allclose(*latents, atol=5e-3)  # the finite difference magnifies rounding
