"""Images and prompts become what the pipelines themselves would make of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_text
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions
from uncertainty_nodes.hosts.diffusers.images import encode_prompts, load_model, measure, prepare, scale_latents

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' use of numpy
KINDS = ["sd", "sdxl", "sd3"]


def pictures(*sizes):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)) for width, height in sizes]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("negative", ["", "dog"])
def test_the_network_is_given_what_the_pipeline_gives_it(tmp_path, kind, negative):
    pipe = tiny_text.make(kind, tmp_path)
    network, seen = pipe.unet if hasattr(pipe, "unet") else pipe.transformer, []
    handle = network.register_forward_pre_hook(lambda module, args, named: seen.append(named), with_kwargs=True)
    call = {"num_inference_steps": 1, "guidance_scale": 5.0, "output_type": "latent"}
    pipe("a cat", negative_prompt=negative or None, width=16, height=24, **call)
    handle.remove()
    model = prepare(pipe, "a cat", negative)
    latents = model.encode(pictures((16, 24)))
    cond, empty = model.conditions(latents, [None])
    assert latents.shape[2:] == (12, 8)
    for name, value in cond.items():
        if isinstance(value, dict):
            assert value.keys() == seen[0][name].keys()
            given = [(value[inner], empty[name][inner], seen[0][name][inner]) for inner in value]
        else:
            given = [(value, empty[name], seen[0][name])]
        for ours, ours_empty, theirs in given:
            torch.testing.assert_close(torch.cat([ours_empty, ours]), theirs)
    assert not torch.equal(cond["encoder_hidden_states"], empty["encoder_hidden_states"])


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_cut_to_what_the_network_takes(tmp_path, kind):
    model = prepare(tiny_text.make(kind, tmp_path), "cat")
    unit = {"sd": 2, "sdxl": 2, "sd3": 4}[kind]
    wide, small, good = (model.fitted(p) for p in pictures((19, 18), (1, 9), (16, 12)))
    assert wide.size == (19 - 19 % unit, 18 - 18 % unit)
    assert small.size == (unit, 9 - 9 % unit)
    assert np.array_equal(np.asarray(good), np.asarray(pictures((19, 18), (1, 9), (16, 12))[2]))


def test_latents_are_in_the_networks_units(tmp_path):
    """Decoding them as the pipeline does its own is what the VAE's own round trip gives."""
    pipe = tiny_text.make("sd3", tmp_path)
    model, (picture,) = prepare(pipe, "cat"), pictures((16, 16))
    pixels = pipe.image_processor.preprocess(picture)
    plain = pipe.vae.encode(pixels).latent_dist.mode()
    torch.testing.assert_close(model.encode([picture]) / 0.5 + 0.25, plain)


def test_scaling_by_mean_and_deviation():
    latents = torch.arange(4.0).view(1, 2, 1, 2)
    config = {"scaling_factor": 0.5, "latents_mean": [1.0, 2.0], "latents_std": [2.0, 4.0]}
    torch.testing.assert_close(scale_latents(latents, config), torch.tensor([-0.25, 0.0, 0.0, 0.125]).view(1, 2, 1, 2))
    torch.testing.assert_close(scale_latents(latents, {"scaling_factor": 0.5, "shift_factor": None}), latents / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_scores_are_near(tmp_path, kind):
    tiny_text.make(kind, tmp_path / "words").save_pretrained(tmp_path / "pipe")
    options = AleatoricOptions(draws=DrawOptions(samples=2))
    models = [load_model(tmp_path / "pipe", "a cat", dtype=dtype) for dtype in (torch.float32, torch.float16)]
    whole, half = (measure(m, pictures((16, 16), (16, 16)), [None] * 2, options, 1)[0].scores for m in models)
    assert next(models[1].network.parameters()).dtype == torch.float16
    assert next(models[1].vae.parameters()).dtype == torch.float32
    torch.testing.assert_close(half, whole, rtol=0.05, atol=1e-3)


def test_a_network_that_wants_more_than_an_image_is_refused(tmp_path):
    pipe = tiny_text.make("sd", tmp_path)
    pipe.unet.register_to_config(in_channels=9)
    with pytest.raises(ValueError, match="takes 9 channels where the VAE has 4"):
        prepare(pipe, "cat")


def test_prompts_differ(tmp_path):
    pipe = tiny_text.make("sd", tmp_path)
    cat, dog = (encode_prompts(pipe, prompt, "")[0]["encoder_hidden_states"] for prompt in ("cat", "dog"))
    assert not torch.allclose(cat, dog)
