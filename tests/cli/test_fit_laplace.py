"""The command fit-laplace: what it writes, that it goes on after a stop, and what it says when it cannot."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_text
from tiny_images import write_pictures
from tiny_pipelines import SIZE
from uncertainty_nodes.cli import main
from uncertainty_nodes.cli.fit_laplace import samples
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.options import LaplaceOptions
from uncertainty_nodes.hosts.diffusers.demo import DemoModel
from uncertainty_nodes.hosts.diffusers.last_layer.laplace import fit_laplace

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy
CHEAP = ["-n", "1", "--method", "generative", "--steps", "3", "--members", "1", "--member-steps", "2", "--samples", "2"]


def fit_demo(out, *arguments):
    return main(["fit-laplace", "--out", str(out), *map(str, arguments)])


def test_the_fit_of_a_folder_is_the_fit_of_its_images(tmp_path):
    folder, pixels = tmp_path / "digits", np.zeros((5, 32, 32), np.uint8)
    for i, label in enumerate((3, 3, 3, 8, 8)):
        pixels[i, 4 : 10 + i, 10:20] = 255
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[i]).save(folder / str(label) / f"{i}.png")
    out = tmp_path / "fit.safetensors"
    assert fit_demo(out, folder, "--draws", 2, "--batch", 2, "--seed", 5) == 0
    model = DemoModel()
    clean = torch.from_numpy(pixels)[:, None].float() / 127.5 - 1
    options = LaplaceOptions(draws=2, seed=5, noise_variance=0.001)
    expected = fit_laplace(model.network, model.scheduler, [(clean, {"class_labels": torch.tensor([3, 3, 3, 8, 8])})], options)
    laplace = Laplace.load(out)
    assert laplace.identity == expected.identity and laplace.options == options and laplace.samples == 5
    torch.testing.assert_close(laplace.curvature.squares, expected.curvature.squares, rtol=1e-4, atol=0)
    assert main(["generate", "--out", str(tmp_path / "drawn"), *CHEAP, "--laplace", str(out)]) == 0


def test_a_stopped_fit_goes_on(tmp_path, monkeypatch, caplog):
    read, calls = samples.Sample.read, []

    def stopping(sample):
        calls.append(sample.name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return read(sample)

    folder = write_pictures(tmp_path / "pictures", 5, 32)
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    arguments = [folder, "--class", 3, "--draws", 1, "--batch", 2]
    assert fit_demo(whole, *arguments) == 0
    caplog.set_level("INFO")
    monkeypatch.setattr(samples.Sample, "read", stopping)
    assert fit_demo(parts, *arguments) == 130
    assert not parts.exists() and len(list(tmp_path.glob("parts.*.partial.safetensors"))) == 1
    assert fit_demo(parts, *arguments) == 0
    assert "Going on after 2 of 5 images" in caplog.text and calls[4:] == ["2.png", "3.png", "4.png"]
    assert torch.equal(Laplace.load(parts).curvature.squares, Laplace.load(whole).curvature.squares)
    assert not list(tmp_path.glob("*.partial.*"))


def test_bad_fits_are_refused_in_a_sentence(tmp_path, caplog):
    tiny_text.make("sd", tmp_path / "words").save_pretrained(tmp_path / "sd")
    one = write_pictures(tmp_path / "one", 1, 2 * SIZE)
    out, sd = tmp_path / "x.safetensors", ["--model", tmp_path / "sd"]
    for arguments, sentence in (
        ([one, "--class", 3, "--draws", 1], "at least 2 training samples, got 1"),
        ([tmp_path / "none"], "is not a folder"),
        ([one, "--prompt", "a"], "The demo model knows no prompts"),
        ([one, "--class", 3, *sd], "--class is for the demo model"),
        (sd, "The folder of images is missing"),
        ([one, "--noise-variance", 0], "noise_variance must be"),
        ([one, "--class", 3, "--layer", "nothing"], "layer must name a convolution or linear layer, got 'nothing'"),
    ):
        caplog.clear()
        assert fit_demo(out, *arguments) == 1
        assert re.search(sentence, caplog.text), caplog.text
        assert not out.exists()
    assert fit_demo(tmp_path / "x.pt") == 1 and "must name a .safetensors file" in caplog.text
    out.touch()
    assert fit_demo(out, one, "--class", 3) == 1 and "is already there" in caplog.text
