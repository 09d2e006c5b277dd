"""The demo model on a real ComfyUI: it draws what it is asked for, with the noise schedule it was trained with."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from comfy_client import PromptFailed, PromptRefused
from comfy_graph import Graph, Node
from comfy_server import Server
from uncertainty_nodes.core.demo.extractor import load_extractor


def demo_ksampler(g: Graph, demo: Node, sampler: str = "euler", steps: int = 20, cfg: float = 1.0, **having: object) -> Node:
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": demo[4]} | having
    return g.node("KSampler", **wires, seed=1, steps=steps, cfg=cfg, sampler_name=sampler, scheduler="normal", denoise=1.0)


def digits_of(latents: torch.Tensor) -> list[int]:
    """What the bundled classifier reads."""
    return load_extractor()(latents.clamp(-1, 1)).argmax(1).tolist()


@pytest.mark.parametrize(("sampler", "cfg", "digit"), [("euler", 1.0, 3), ("ddim", 2.0, 7), ("dpmpp_2m", 1.0, 0)])
def test_it_draws_the_digit(comfy: Server, sampler: str, cfg: float, digit: int) -> None:
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=digit, batch_size=8)
    saved = g.node("UQTest_SaveLatent", latent=demo_ksampler(g, demo, sampler, cfg=cfg), name="demo")
    samples = comfy.latent(comfy.run(g), saved)["samples"]
    assert samples.shape == (8, 1, 32, 32)
    assert digits_of(samples).count(digit) >= 7


def test_negative_alone_draws_any_digit(comfy: Server) -> None:
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=8)
    saved = g.node("UQTest_SaveLatent", latent=demo_ksampler(g, demo, positive=demo[2]), name="demo")
    assert len(set(digits_of(comfy.latent(comfy.run(g), saved)["samples"]))) > 2


def test_the_noise_schedule_is_the_one_it_was_trained_with(comfy: Server) -> None:
    from diffusers import DDPMScheduler

    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=1)
    read = g.node("UQTest_NoiseSchedule", model=demo)
    sigmas = torch.tensor(comfy.value(comfy.run(g), read))
    alphas = DDPMScheduler(1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear").alphas_cumprod.double()
    assert torch.allclose(sigmas.double(), ((1 - alphas) / alphas).sqrt(), rtol=1e-4)


def test_stock_nodes_decode_encode_and_inpaint(comfy: Server) -> None:
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=5, batch_size=2)
    empty = g.node("EmptyLatentImage", width=256, height=256, batch_size=2)
    latent = demo_ksampler(g, demo, latent_image=empty)
    image = g.node("VAEDecode", samples=latent, vae=demo[3])
    again = g.node("VAEEncode", pixels=image, vae=demo[3])
    tiled = g.node("VAEDecodeTiled", samples=latent, vae=demo[3], tile_size=512, overlap=64, temporal_size=64, temporal_overlap=8)
    mask = g.node("SolidMask", value=1.0, width=256, height=256)
    masked = g.node("VAEEncodeForInpaint", pixels=image, vae=demo[3], mask=mask, grow_mask_by=6)
    first, second = (g.node("UQTest_SaveLatent", latent=x, name=f"demo{i}") for i, x in enumerate((latent, again)))
    picture = g.node("SaveImage", images=image, filename_prefix="demo")
    g.node("SaveImage", images=tiled, filename_prefix="tiled")
    g.node("SaveLatent", samples=demo_ksampler(g, demo, latent_image=masked), filename_prefix="masked")
    history = comfy.run(g)
    before, after = (comfy.latent(history, node)["samples"] for node in (first, second))
    assert F.l1_loss(after, before.clamp(-1, 1)) < 0.06
    assert digits_of(after) == digits_of(before)
    png = Image.open(io.BytesIO(comfy.fetch_output(history.outputs[str(picture)]["images"][0])))
    assert png.size == (256, 256)
    assert 0 < np.asarray(png).mean() < 128  # white on black


def test_another_models_prompt_is_refused_in_words(comfy: Server) -> None:
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=5, batch_size=1)
    words = g.node("UQTest_Conditioning", seed=1, tokens=7, width=768, pooled=0, batch=1)
    g.node("UQTest_SaveLatent", latent=demo_ksampler(g, demo, positive=words), name="demo")
    with pytest.raises(PromptFailed, match="knows no words.*width 96, got tokens of width 768; connect positive"):
        comfy.run(g)


def test_a_size_it_cannot_draw_is_refused_in_words(comfy: Server) -> None:
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=5, batch_size=1)
    latent = g.node("EmptyLatentImage", width=240, height=264, batch_size=1)
    g.node("UQTest_SaveLatent", latent=demo_ksampler(g, demo, latent_image=latent), name="demo")
    with pytest.raises(PromptFailed, match=r"256 x 256 pixels.*got \(1, 1, 33, 30\)"):
        comfy.run(g)


@pytest.mark.parametrize("digit", [-1, 10])
def test_a_digit_that_is_none_is_refused_before_anything_runs(comfy: Server, digit: int) -> None:
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=digit, batch_size=1)
    g.node("UQTest_SaveLatent", latent=demo_ksampler(g, demo), name="demo")
    with pytest.raises(PromptRefused, match="digit"):
        comfy.run(g)
