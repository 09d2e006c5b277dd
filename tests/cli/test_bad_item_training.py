"""fit-laplace, train-ensemble: one image of eight is of no use. What is made is bit for bit what the others alone make."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import UNet2DModel
from safetensors import safe_open

import tiny_text
from bad_items import IMAGES, batches, break_picture, is_of_class, places, run, spoil, spoil_latent, write_classes
from tiny_images import write_pictures
from uncertainty_nodes.cli.fit_laplace.samples import Sample
from uncertainty_nodes.core.ensemble.file import EnsembleParameters

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    root = tmp_path_factory.mktemp("pipeline")
    tiny_text.make("sd", root / "words").save_pretrained(root / "sd")
    return root / "sd"


def fit(folder, out, batch, *arguments):
    return run("fit-laplace", folder, "--draws", 2, "--batch", batch, "--out", out, *arguments)


def read_tensors(path):
    """What is in the file, and what its header says; the order in it is another one each time."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["metadata"])  # noqa: SIM118


def equal(a, b):
    return a[1] == b[1] and a[0].keys() == b[0].keys() and all(torch.equal(a[0][name], b[0][name]) for name in a[0])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The fit of the seven pictures without each."""
    made = {}

    def fitted(without, batch):
        if (without, batch) not in made:
            folder = tmp_path_factory.mktemp("fitted")
            assert fit(write_classes(folder, without), folder / "fit.safetensors", batch) == 0
            made[without, batch] = read_tensors(folder / "fit.safetensors")
        return made[without, batch]

    return fitted


@places
@batches
def test_a_fit_leaves_out_what_can_not_be_read(fitted, tmp_path, caplog, bad, batch):
    folder, out = write_classes(tmp_path), tmp_path / "fit.safetensors"
    path = folder / str(bad) / "0.png"
    break_picture(path)
    assert fit(folder, out, batch) == 0
    assert caplog.text.count(f"{bad}/0.png is no readable image") == 1
    assert equal(read_tensors(out), fitted(bad, batch))
    assert not list(tmp_path.glob("*.partial.*"))


@places
@batches
def test_a_fit_leaves_out_what_gives_nan(fitted, tmp_path, monkeypatch, caplog, bad, batch):
    folder, out = write_classes(tmp_path), tmp_path / "fit.safetensors"
    expected = fitted(bad, batch)
    spoil(monkeypatch, UNet2DModel, is_of_class(bad))
    assert fit(folder, out, batch) == 0
    assert caplog.text.count(f"{bad}/0.png gives values that are not finite and is left out") == 1
    assert equal(read_tensors(out), expected)
    assert not list(tmp_path.glob("*.partial.*"))


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_a_fit_that_was_stopped_goes_on_past_what_gives_nan(fitted, tmp_path, monkeypatch, bad):
    folder, out = write_classes(tmp_path), tmp_path / "fit.safetensors"
    expected = fitted(bad, 1)
    spoil(monkeypatch, UNet2DModel, is_of_class(bad))
    read, reads = Sample.read, []

    def stopping(sample):
        reads.append(sample.name)
        if len(reads) == 6:
            raise KeyboardInterrupt
        return read(sample)

    monkeypatch.setattr(Sample, "read", stopping)
    assert fit(folder, out, 1) == 130 and not out.exists()
    assert fit(folder, out, 1) == 0
    assert len(reads) <= 6 + 5 and equal(read_tensors(out), expected)
    assert not list(tmp_path.glob("*.partial.*"))


def train(folder, out, batch, *arguments):
    return run("train-ensemble", folder, "--members", 2, "--steps", 2, "--batch", batch, "--out", out, *arguments)


@places
@batches
def test_training_leaves_out_what_can_not_be_read(tmp_path, caplog, bad, batch):
    folder, path = write_classes(tmp_path / "all"), tmp_path / "all" / str(bad) / "0.png"
    break_picture(path)
    assert train(folder, tmp_path / "a.safetensors", batch) == 0
    assert caplog.text.count(f"{bad}/0.png is no readable image") == 1
    assert train(write_classes(tmp_path / "seven", bad), tmp_path / "b.safetensors", batch) == 0
    assert equal(*(read_tensors(tmp_path / f"{name}.safetensors") for name in "ab"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "all", "b.safetensors", "seven"]


@pytest.mark.parametrize("bad", [0, 7])
def test_training_names_the_image_whose_loss_is_nan(tmp_path, monkeypatch, caplog, bad):
    folder, out = write_classes(tmp_path / "all"), tmp_path / "a.safetensors"
    spoil(monkeypatch, UNet2DModel, is_of_class(bad))
    assert train(folder, out, IMAGES, "--steps", 9) == 1 and not out.exists()
    assert f"The model's loss is not finite for {bad}/0.png: take that out of the folder and start again" in caplog.text
    (folder / str(bad) / "0.png").unlink()
    assert train(folder, out, IMAGES) == 0 and EnsembleParameters.load(out).members


@pytest.mark.parametrize("kind", ["lora", "embedding"])
def test_training_leaves_out_captions_that_are_no_text_and_latents_that_are_nan(pipeline, tmp_path, monkeypatch, caplog, kind):
    model = ["--model", pipeline, "--prompt", "a", "--kind", kind]
    for name, without in (("all", None), ("six", (2, 4))):
        write_pictures(tmp_path / name, IMAGES, 16)
        for i in range(IMAGES):
            (tmp_path / name / f"{i}.txt").write_text(f"{'abcdefgh'[i]} *")
            if without and i in without:
                (tmp_path / name / f"{i}.png").unlink()
    (tmp_path / "all" / "2.txt").write_bytes(b"caf\xe9")
    spoil_latent(monkeypatch, tmp_path / "all" / "4.png")
    assert train(tmp_path / "all", tmp_path / "a.safetensors", 2, *model, "--size", 16) == 0
    assert caplog.text.count("2.png has a caption that can't be read") == caplog.text.count("4.png is encoded to values") == 1
    assert train(tmp_path / "six", tmp_path / "b.safetensors", 2, *model, "--size", 16) == 0
    a, b = (EnsembleParameters.load(tmp_path / f"{name}.safetensors") for name in "ab")
    for found, expected in zip(a.members, b.members, strict=True):
        assert found.tensors.keys() == expected.tensors.keys()
        assert all(torch.allclose(found.tensors[n], expected.tensors[n], rtol=1e-4, atol=1e-6) for n in found.tensors)
