"""sort --at-most-bad: as many as may be kept while few of them are bad, by labels; and what generate makes of the same labels."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from bad_items import run
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.core.selection.risk import risk_limit
from uncertainty_nodes.core.view.notes import Note, write_note

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy
IMAGES = 300


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Images whose scores tell of the bad ones among them, and labels of every second one."""
    home, rng = tmp_path_factory.mktemp("home"), np.random.default_rng(0)
    scores = rng.normal(10, 3, IMAGES)
    bad = rng.random(IMAGES) < 1 / (1 + np.exp(2 * (scores - 7.5)))
    lines = ["file,label"]
    for i in range(IMAGES):
        path = home / "archive" / f"{i % 3}" / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), i % 256).save(path)
        write_note(path, Note("condition-gap", Direction.LOW_IS_BAD, float(scores[i])))
        if i % 2:
            lines.append(f"{path.relative_to(home / 'archive')},{'Bad' if bad[i] else 'good'}")
    (home / "labels.csv").write_text("\n".join(lines))
    return home, torch.tensor(scores), torch.tensor(bad)


def kept(folder):
    with (folder / "sorted.csv").open() as file:
        return {row["file"] for row in csv.DictReader(file) if row["kept"] == "yes"}


@pytest.mark.parametrize("share", [10, 20])
def test_the_limit_is_that_of_the_labelled_images(archive, tmp_path, caplog, share):
    home, scores, bad = archive
    caplog.set_level("INFO")
    asked = ["sort", home / "archive", "--at-most-bad", share, "--out", tmp_path]
    assert run(*asked, "--labels", home / "labels.csv", "--save-calibration", tmp_path / "c.safetensors") == 0
    expected = risk_limit(-scores[1::2], bad[1::2], share / 100, 0.95)
    assert expected.limit is not None and 0 < expected.passing < IMAGES // 2
    assert len(kept(tmp_path)) == int((-scores <= expected.limit).sum())
    assert kept(tmp_path) == {f"{i % 3}/{i:03d}.png" for i in range(IMAGES) if -scores[i] <= expected.limit}
    told = f"with 95 % confidence: {expected.passing} of the 150 labelled images pass it, {expected.bad} of them bad"
    assert f"At most {share} % of the images that pass" in caplog.text and told in caplog.text
    before = kept(tmp_path)
    assert run(*asked, "--calibration", tmp_path / "c.safetensors", "--put", "copy") == 0
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {name.split("/")[1] for name in before}
    again = ["sort", home / "archive", "--at-most-bad", share, "--out", tmp_path / "surer", "--confidence", 99]
    assert run(*again, "--labels", home / "labels.csv") == 0 and kept(tmp_path / "surer") < before


def test_labels_are_found_after_a_move_and_strangers_are_told(archive, tmp_path, caplog):
    home, *_ = archive
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (home / "archive").rglob("*.png"):
        (flat / path.name).write_bytes(path.read_bytes())
    (tmp_path / "labels.jsonl").write_text(
        "\n".join(
            [
                *(json.dumps({"image": f"elsewhere/{i:03d}.png", "label": "good"}) for i in range(100)),
                json.dumps({"image": "gone.png", "label": "bad"}),
            ]
        )
    )
    assert run("sort", flat, "--at-most-bad", 10, "--labels", tmp_path / "labels.jsonl") == 0
    assert "not among the images with scores: gone.png" in caplog.text and kept(flat)


def test_bad_promises_are_refused_in_a_sentence(archive, tmp_path, caplog):
    home, *_ = archive
    few = tmp_path / "few.csv"
    few.write_text("file,label\n0/000.png,good\n1/001.png,good\n")
    (tmp_path / "words.csv").write_text("file,label\n0/000.png,maybe\n")
    (tmp_path / "none.csv").write_text("file,label\nx.png,good\n")
    for more, sentence in (
        (["--labels", few], "at-most-bad"),
        (["--at-most-bad", 5], "give either --labels, a list of them, or --calibration"),
        (["--at-most-bad", 5, "--labels", few, "--calibration", few], "give either --labels"),
        (["--at-most-bad", 5, "--labels", few], "2 labelled images are too few to promise"),
        (["--at-most-bad", 0, "--labels", few], "at_most_bad must be between 0.1 and 90, got 0"),
        (["--at-most-bad", 5, "--labels", few, "--confidence", 100], "confidence must be between 50 and 99.9, got 100"),
        (["--at-most-bad", 5, "--labels", tmp_path / "words.csv"], "must say good or bad under label, got 'maybe'"),
        (["--at-most-bad", 5, "--labels", tmp_path / "none.csv"], "None of the images that"),
        (["--at-most-bad", 5, "--labels", tmp_path / "gone.csv"], "There is no file"),
        (["--at-most-bad", 5, "--calibration", few], "few.csv"),
        (["--at-most-bad", 5, "--calibration", few, "--save-calibration", few], "saves what --labels says"),
    ):
        caplog.clear()
        assert run("sort", home / "archive", *more, "--out", tmp_path / "out") == 1
        assert sentence in caplog.text, caplog.text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("method", "made", "sentence"),
    [
        ("method: information; model: demo; steps: 4; samples: 2", {"steps": "4", "samples": "2", "model": "UNet2DModel"}, None),
        ("method: information; model: demo; steps: 4; samples: 2", {"steps": "5"}, "made with steps '5', but scores made with steps '4'"),
        ("model: sd; guidance_scale: 7.5", {"cfg": "3"}, "made with cfg '3', but scores made with cfg '7.5'"),
        ("by: information; samples: 2; levels: 4", {"steps": "4", "samples": "2"}, None),
        ("host: comfyui; model: SDXL; sampler: euler; steps: 8", {"host": "comfyui", "model": "SD15"}, "with model 'SD15'"),
        ("host: comfyui; model: SDXL; sampler: euler; steps: 8", {"host": "diffusers", "model": "UNet2DModel", "steps": "8"}, None),
        ("", {"host": "diffusers", "steps": "8"}, None),
    ],
)
@pytest.mark.parametrize("rule", ["--keep", "--at-most-bad"])
def test_scores_that_tell_another_way_than_the_calibration_are_refused(tmp_path, caplog, method, made, sentence, rule):
    images, file = tmp_path / "images", tmp_path / "c.safetensors"
    images.mkdir()
    for i in range(3):
        Image.new("L", (4, 4), i).save(images / f"{i}.png")
        write_note(images / f"{i}.png", Note("information", Direction.LOW_IS_BAD, float(i), method=method))
    scores = torch.arange(200.0)
    Calibration.fit([scores], Direction.LOW_IS_BAD, "information", [made]).label(scores, scores < 0).save(file)
    assert run("sort", images, rule, 50, "--calibration", file) == (0 if sentence is None else 1)
    assert sentence is None or sentence in caplog.text


def test_generate_draws_until_enough_pass_the_limit(tmp_path, caplog):
    cheap = ["--steps", 4, "--samples", 2, "--method", "noise", "--out", tmp_path / "out"]
    scores, rng = torch.linspace(0, 1, 200, dtype=torch.float64), torch.Generator().manual_seed(0)
    history = Calibration.fit([scores], Direction.LOW_IS_BAD, "noise")
    labelled = history.label(scores, (scores < 1e-3) | (torch.rand(200, generator=rng) < 0.02))
    labelled.save(tmp_path / "labels.safetensors")
    history.save(tmp_path / "unlabelled.safetensors")
    rule = ["--until-kept", 2, "--rule", "at_most_bad", "--value", 10]
    for more, sentence in (
        ([], "The rule at_most_bad needs labelled images: name their file with --calibration"),
        (["--calibration", tmp_path / "unlabelled.safetensors"], "0 labelled images are too few to promise"),
        (["--calibration", tmp_path / "labels.safetensors", "--value", 95], "must be between 0.1 and 90, got 95"),
    ):
        caplog.clear()
        assert run("generate", *cheap, *rule, *more) == 1
        assert sentence in caplog.text and not (tmp_path / "out").exists()
    caplog.clear()
    assert run("generate", *cheap, "--until-kept", 2, "--confidence", 90) == 1
    assert "confidence belongs to the rule at_most_bad" in caplog.text
    caplog.set_level("INFO")
    assert run("generate", *cheap, *rule, "--confidence", 90, "--calibration", tmp_path / "labels.safetensors", "--max-attempts", 6) == 0
    told = json.loads((tmp_path / "out" / "results.json").read_text())
    limit = labelled.risk_threshold(10, 90)
    assert (
        told["until"]["limit"] == limit and told["until"]["confidence"] == 90 and "at most 10 % are bad, 90 % sure from 200" in caplog.text
    )
    for row in told["images"]:
        assert row["reason"].startswith("Accepted" if row["score"] >= np.float32(limit) else "Rejected")
        assert "the limit for at most 10 % bad, 90 % sure from 200 labels" in row["reason"]
