"""score: one image of eight scores NaN or can't be read. The others are bit for bit as without it, and a rerun goes past it."""

from __future__ import annotations

import json
import shutil

import pytest
from diffusers import UNet2DModel

import tiny_text
from bad_items import IMAGES, batches, break_picture, is_of_class, places, run, spoil, spoil_latent, write_classes
from tiny_images import write_pictures
from uncertainty_nodes.cli.score import run as score
from uncertainty_nodes.cli.score import worker

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    root = tmp_path_factory.mktemp("pipeline")
    tiny_text.make("sd", root / "words").save_pretrained(root / "sd")
    return root / "sd"


def judge(folder, *arguments, batch=IMAGES, by="information"):
    cheap = ["--samples", 2, "--levels", 1, "--by", by]
    return run("score", folder, *cheap, "--batch", batch, "--out", folder / "scores", *arguments)


def read_scores(folder):
    return {row["file"]: row["score"] for row in json.loads((folder / "scores" / "uncertainty.json").read_text())["rows"]}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The scores of eight pictures, each in a class of its own, and of the seven without each."""
    made = {}

    def judged(by, batch, without=None):
        if (by, batch, without) not in made:
            folder = write_classes(tmp_path_factory.mktemp("judged"), without)
            assert judge(folder, batch=batch, by=by) == 0
            made[by, batch, without] = read_scores(folder)
        return dict(made[by, batch, without])

    return judged


@places
@batches
@pytest.mark.parametrize("by", ["information", "noise"])
def test_an_image_that_scores_nan_leaves_the_others_alone(judged, tmp_path, monkeypatch, caplog, bad, batch, by):
    expected, folder = judged(by, batch), write_classes(tmp_path)
    spoil(monkeypatch, UNet2DModel, is_of_class(bad))
    assert judge(folder, batch=batch, by=by) == 0
    found = read_scores(folder)
    assert list(found)[-1] == f"{bad}/0.png" and found.pop(f"{bad}/0.png") is None
    expected.pop(f"{bad}/0.png")
    assert found == expected
    assert sum(f"{bad}/0.png" in record.getMessage() for record in caplog.records if record.levelname == "WARNING") == 1
    monkeypatch.setattr(worker, "measure", None)
    assert judge(folder, batch=batch, by=by) == 0 and read_scores(folder) == found | {f"{bad}/0.png": None}


@batches
def test_an_image_whose_latent_is_nan_leaves_the_others_alone(pipeline, tmp_path, monkeypatch, caplog, batch):
    model, folder = ["--model", pipeline, "--prompt", "a"], write_pictures(tmp_path, IMAGES, 16)
    for by in ("information", "denoised"):
        assert judge(folder, *model, by=by, batch=batch) == 0
        expected = read_scores(folder)
        shutil.rmtree(folder / "scores")
        with monkeypatch.context() as patch:
            spoil_latent(patch, folder / "4.png")
            assert judge(folder, *model, by=by, batch=batch) == 0
        assert read_scores(folder) == expected | {"4.png": None}
        shutil.rmtree(folder / "scores")


@places
@batches
def test_an_image_that_can_not_be_read_leaves_the_others_alone(judged, tmp_path, monkeypatch, caplog, bad, batch):
    expected, folder = judged("information", batch, without=bad), write_classes(tmp_path)
    path = folder / str(bad) / "0.png"
    break_picture(path)
    assert judge(folder, batch=batch) == 0
    assert read_scores(folder) == expected
    assert caplog.text.count(f"{bad}/0.png is no readable image") == 1
    monkeypatch.setattr(worker, "measure", None)
    monkeypatch.setattr(score, "read_picture", None)
    caplog.clear()
    caplog.set_level("INFO")
    assert judge(folder, batch=batch) == 0
    assert caplog.text.count(f"{bad}/0.png is no readable image") == 1 and "Nothing was left to score; left out: 1" in caplog.text
