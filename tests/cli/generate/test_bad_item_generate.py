"""generate: one image of eight that comes out NaN. The other seven are bit for bit as without it, and a rerun has nothing left to do."""

from __future__ import annotations

import functools
import json

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel
from PIL import Image

import tiny_text
from bad_items import IMAGES, batches, begins_as, places, run, spoil
from tiny_pipelines import SIZE
from uncertainty_nodes.cli.generate import worker as generate
from uncertainty_nodes.hosts.diffusers.demo import starting_noise

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy
METHODS = ["information", "generative", "bayesdiff", "mc-dropout", "denoised", "noise"]


def results(out):
    return json.loads((out / "results.json").read_text())


def draw(out, *arguments, method="denoised", batch=IMAGES):
    cheap = ["--steps", 6, "--members", 1, "--member-steps", 2, "--samples", 2, "--every", 2]
    return run("generate", "-n", IMAGES, "--keep", 4, *cheap, "--method", method, "--batch", batch, "--out", out, *arguments)


def read_outputs(out):
    """Score and picture of each image by its number."""
    return {row["image"]: (row["score"], Image.open(out / row["file"]).tobytes()) for row in results(out)["images"]}


def check_drawn(out, whole, bad, caplog, again):
    found, expected = read_outputs(out), read_outputs(whole)
    assert found.pop(bad)[0] is None and expected.pop(bad)[0] is not None
    assert found == expected
    last = results(out)["images"][-1]
    assert (last["image"], last["rank"], last["file"]) == (bad, IMAGES, f"rejected/{bad:06d}.png")
    assert len(list((out / "kept").iterdir())) == 4
    assert caplog.text.count(f"{bad:06d}.png") == 1
    before = read_outputs(out)
    assert again() == 0 and read_outputs(out) == before


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Eight good digits, drawn by each method and batch when first asked for."""
    made = {}

    def whole(method, batch):
        if (method, batch) not in made:
            made[method, batch] = tmp_path_factory.mktemp("whole")
            assert draw(made[method, batch], method=method, batch=batch) == 0
        return made[method, batch]

    return whole


@places
@batches
def test_an_image_that_comes_out_nan_leaves_the_others_alone(whole, tmp_path, monkeypatch, caplog, bad, batch):
    expected = whole("denoised", batch)
    spoil(monkeypatch, UNet2DModel, begins_as(starting_noise(1, 0, bad)))
    assert draw(tmp_path, batch=batch) == 0
    monkeypatch.setattr(generate, "draw_scored", None)  # would fail if asked for an image
    check_drawn(tmp_path, expected, bad, caplog, lambda: draw(tmp_path, batch=batch))


@pytest.mark.parametrize("method", METHODS)
@batches
def test_so_it_is_by_every_method(whole, tmp_path, monkeypatch, caplog, method, batch):
    expected, bad = whole(method, batch), 3
    spoil(monkeypatch, UNet2DModel, begins_as(starting_noise(1, 0, bad)))
    assert draw(tmp_path, method=method, batch=batch) == 0
    monkeypatch.setattr(generate, "draw_scored", None)
    check_drawn(tmp_path, expected, bad, caplog, lambda: draw(tmp_path, method=method, batch=batch))


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """The folders of a tiny SD and SDXL."""
    root = tmp_path_factory.mktemp("pipelines")
    for kind in ("sd", "sdxl"):
        tiny_text.make(kind, root / "words").save_pretrained(root / kind)
    return root


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@pytest.mark.parametrize("method", ["information", "denoised"])
@batches
def test_so_it_is_with_a_pipeline_under_guidance(pipelines, tmp_path, monkeypatch, caplog, kind, method, batch):
    model, bad = ["--model", pipelines / kind, "--prompt", "a", "--guidance-scale", 3], 5
    assert draw(tmp_path / "whole", *model, method=method, batch=batch) == 0
    first = torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(bad))
    spoil(monkeypatch, UNet2DConditionModel, begins_as(first))
    assert draw(tmp_path / "out", *model, method=method, batch=batch) == 0
    monkeypatch.setattr(generate, "draw_scored", None)
    check_drawn(tmp_path / "out", tmp_path / "whole", bad, caplog, lambda: draw(tmp_path / "out", *model, method=method, batch=batch))


def test_a_picture_that_only_the_vae_spoils_is_rejected_too(pipelines, tmp_path, monkeypatch):
    decode, calls = AutoencoderKL.decode, []

    @functools.wraps(decode)
    def spoiled(self, z, *args, **kwargs):
        out = decode(self, z, *args, **kwargs)
        calls.append(len(z))
        out[0][2] = torch.nan
        return out

    monkeypatch.setattr(AutoencoderKL, "decode", spoiled)
    assert draw(tmp_path, "--model", pipelines / "sd", "--prompt", "a") == 0
    assert calls == [IMAGES] and [image for image, (value, _) in read_outputs(tmp_path).items() if value is None] == [2]
