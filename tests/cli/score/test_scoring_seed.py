"""score --seed: other draws move the scores of a whole run, so that nothing compares them with those of the usual draws."""

from __future__ import annotations

import json
import logging

import pytest

from tiny_images import write_pictures
from uncertainty_nodes.cli import main
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.core.view.notes import read_notes

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy
CHEAP = ["--class", "1", "--samples", "2"]
IMAGES = 4


def run(*arguments):
    return main(list(map(str, arguments)))


@pytest.fixture
def scored(tmp_path):
    """Two folders, each scored with draws of its own, and with the scores in the images."""
    for seed in (0, 5):
        assert run("score", write_pictures(tmp_path / "home" / f"{seed}", IMAGES, 32), *CHEAP, "--seed", seed, "--note") == 0
    return tmp_path / "home"


def test_the_seed_of_the_draws_is_told_and_is_not_that_of_the_image(scored, capsys):
    (usual,), (other,) = (read_notes(scored / seed / "0.png") for seed in "05")
    assert usual.seed is None and other.seed is None
    assert other.method == f"{usual.method}; scoring seed: 5"
    assert json.loads((scored / "5" / "uncertainty.json").read_text())["made_with"]["scoring seed"] == "5"


def test_sort_leaves_out_those_of_another_seed(scored, caplog):
    for name in ("2.png", "3.png"):
        (scored / "5" / name).unlink()
    assert run("sort", scored) == 0
    assert "2 of 6 images carry no score that can be compared" in caplog.text and "scoring seed: 5" in caplog.text
    assert (scored / "sorted.csv").read_text().count("0/") == IMAGES


def test_calibrations_hold_scores_of_one_seed(scored, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    file = tmp_path / "c.safetensors"
    assert run("calibrate", scored / "5", "--out", file) == 0
    assert Calibration.load(file).settings["scoring seed"] == "5"
    told = "made with scoring seed '5', but scores made with scoring seed '0' are to be compared"
    assert run("calibrate", scored / "0", "--out", file) == 1 and told in caplog.text
    caplog.clear()
    assert run("sort", scored / "0", "--calibration", file) == 1 and told in caplog.text
    assert run("sort", scored / "5", "--calibration", file) == 0


def test_generate_refuses_a_calibration_of_another_seed_before_it_draws(scored, tmp_path, caplog):
    for seed, status in (("5", 1), ("0", 0)):
        assert run("calibrate", scored / seed, "--out", tmp_path / f"{seed}.safetensors") == 0
        asked = ["--until-kept", "1", "--max-attempts", "1", "--steps", "2", "--samples", "2", "--value", "100"]
        out = tmp_path / f"out{seed}"
        assert run("generate", *asked, "--calibration", tmp_path / f"{seed}.safetensors", "--out", out) == status, caplog.text
        assert (out / "results.sqlite").exists() == (status == 0)
    assert "made with scoring seed '5', but scores made with scoring seed '0'" in caplog.text
