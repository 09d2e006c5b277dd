"""The demo command: what it writes, and what it says when it cannot."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

from uncertainty_nodes.cli import main
from uncertainty_nodes.cli.demo.gallery import PLACEHOLDER
from uncertainty_nodes.cli.demo.run import GUIDED_DRAWS, GUIDED_STEPS

KEYS = {
    "images", "steps", "samples", "nfe_sampling", "nfe_estimation", "nfe_guidance", "seconds_plain", "seconds_estimated", "seconds_guided",
    "auroc_bad_denoised", "auroc_bad_noise", "accepted", "rejected", "agreement_all", "agreement_accepted", "agreement_rejected", "guided",
}  # fmt: skip
IMAGES, STEPS, SAMPLES = 4, 3, 2


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    sizes = ["--images", IMAGES, "--steps", STEPS, "--samples", SAMPLES, "--drop", 50]
    assert main(["demo", "--out", str(out), *map(str, sizes), "--strength", "0.2"]) == 0
    return out


@pytest.fixture(scope="module")
def results(out):
    return json.loads((out / "results.json").read_text())


def test_the_results_hold_what_is_promised(results):
    assert results.keys() >= KEYS
    assert (results["images"], results["steps"], results["samples"]) == (IMAGES, STEPS, SAMPLES)
    assert results["identical_with_estimation"] is True


def test_costs_are_what_was_run(results):
    assert results["nfe_sampling"] == STEPS
    # of the 3 steps at 1/3, 2/3 and the end of the schedule one lies in the default window
    assert results["nfe_estimation"] == SAMPLES
    # two calls per draw (the redraw and its derivative), at each guided step
    assert results["nfe_guidance"] == GUIDED_DRAWS * GUIDED_STEPS


def test_filter_and_agreement_add_up(results):
    kept, dropped = results["accepted"], results["rejected"]
    assert (kept, dropped) == (2, 2)
    right = results["agreement_accepted"] * kept + results["agreement_rejected"] * dropped
    assert right == pytest.approx(results["agreement_all"] * IMAGES)
    assert [row["strength"] for row in results["guided"]] == [0.0, 0.2]


def test_every_picture_of_the_page_is_there(out):
    page = (out / "index.html").read_text()
    assert PLACEHOLDER not in page
    data = json.loads(re.search(r"const data = (.*);\n", page).group(1))
    names = [f"{card['index']:03d}.png" for card in data["cards"]]
    assert sorted(names) == [f"{i:03d}.png" for i in range(IMAGES)]
    for folder in ("images", "heatmaps", "guided/0", "guided/1"):
        for name in names:
            with Image.open(out / folder / name) as picture:
                assert picture.size == (128, 128)
    with Image.open(out / "overview.png") as overview:
        assert overview.size == (132 * IMAGES, 132 * 2)
    with Image.open(out / "strengths.png") as strengths:
        assert strengths.size == (132 * IMAGES, 132 * 2)
    scores = [card["score"] for card in data["cards"]]
    assert scores == sorted(scores), "most certain first"


def test_nothing_temporary_is_left(out):
    assert not [path for path in out.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--drop", "120"], "drop must be between 0 and 100, got 120.0."),
        (["--device", "abacus"], "device 'abacus' is not available here"),
        (["--strength", "nan"], "strength must be"),
    ],
)
def test_bad_values_are_one_sentence_and_write_nothing(tmp_path, caplog, arguments, words):
    with caplog.at_level(logging.ERROR):
        assert main(["demo", "--out", str(tmp_path / "x"), "--images", "2", "--steps", "1", *arguments]) == 1
    assert words in caplog.text
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("arguments", [["--images", "1"], ["--samples", "one"], ["--steps", "0"], ["--seed", "-1"]])
def test_bad_counts_are_refused_by_name(arguments, capsys):
    with pytest.raises(SystemExit):
        main(["demo", *arguments])
    (message,) = capsys.readouterr().err.splitlines()
    assert arguments[0] in message and message.endswith("All options: uncertainty-nodes demo --help")
    assert "must be a whole number" in message or "expected one argument" in message


def test_a_file_in_the_way_is_one_sentence(tmp_path, caplog):
    (tmp_path / "file").write_text("mine")
    with caplog.at_level(logging.ERROR):
        assert main(["demo", "--out", str(tmp_path / "file" / "x")]) == 1
    assert "out must be a folder" in caplog.text
    assert (tmp_path / "file").read_text() == "mine"


def test_the_package_is_a_command_too(tmp_path):
    command = [sys.executable, "-m", "uncertainty_nodes.cli", "show", str(tmp_path / "gone.png")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 1 and "There is no file" in ended.stderr and "Traceback" not in ended.stderr
