"""generate --mode stop: an image that earlier drafts call hopeless has no picture, is told as stopped, and is never drawn again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from PIL import Image

from drawing_runs import STEPS, count_rows, draw, drawn_alone, kept, outputs, rows, saved, stop_after
from uncertainty_nodes.core.options import BestOfOptions, Direction, Scorer
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.hosts.diffusers.demo import load_demo
from uncertainty_nodes.hosts.diffusers.search.best_of import best_of
from uncertainty_nodes.hosts.diffusers.search.candidates import DigitCandidates

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy
IMAGES = 6


@pytest.fixture(scope="module")
def drafts(tmp_path_factory):
    """The scores of images 0 to 5 in the middle, and a file of them: at 50 % the better half goes on."""
    scores = []
    for number in range(IMAGES):
        candidates = DigitCandidates(*load_demo(), number, STEPS)
        found = best_of(candidates, options=BestOfOptions(2, points=(0.5,), fractions=(0.5,), seed=number))
        scores.append(found.rounds[0].scores[Scorer.INFORMATION][0])
    path = tmp_path_factory.mktemp("drafts") / "drafts.safetensors"
    Calibration.fit([torch.stack(scores)], Direction.LOW_IS_BAD, "information at 0.5").save(path)
    return [float(score) for score in scores], path


def stop_at(path, limit=50, *more):
    return ["--mode", "stop", "--early-calibration", path, "--early-limit", limit, *more]


def stopped(out):
    return {int(key): record for key, record in saved(out).get("skipped", {}).items()}


def test_the_hopeless_are_told_and_the_others_are_what_they_are_alone(drafts, tmp_path, monkeypatch, caplog):
    scores, path = drafts
    seen = count_rows(monkeypatch, UNet2DModel)
    caplog.set_level("INFO")
    assert draw(tmp_path, "-n", IMAGES, "--keep", IMAGES, *stop_at(path)) == 0
    spent = sum(seen)
    going, left = rows(tmp_path), stopped(tmp_path)
    good = [i for i, score in enumerate(scores) if score >= np.median(scores)]
    assert sorted(going) == good == kept(tmp_path) and sorted([*going, *left]) == list(range(IMAGES))
    for i, row in going.items():
        assert np.array_equal(np.asarray(Image.open(tmp_path / row["file"])), drawn_alone(i, i))
    for i, record in left.items():
        assert record["score"] == pytest.approx(scores[i], rel=1e-4) and record["quantity"] == "information at 0.5"
        assert record["calls"] + record["saved"] == STEPS + 4 and record["saved"] > 0, "two draws with and without the digit"
        assert record["seed"] == i and record["reason"].startswith("Stopped at 0.5 of the schedule. Rejected")
    assert spent == sum(row["calls"] + row["nfe"] for row in going.values()) + sum(record["calls"] for record in left.values())
    total = sum(record["saved"] for record in left.values())
    seconds = sum(record["saved"] * record["seconds"] / record["calls"] for record in left.values())
    told = f"Stopped on their way, without a picture: {len(left)}, which saved {total} model calls, about {seconds:.3g} seconds."
    assert seconds > 0 and told in caplog.text
    assert "Not finite" not in caplog.text


def test_it_goes_on_after_a_stop_and_draws_nothing_twice(drafts, tmp_path, monkeypatch, caplog):
    asked = ["-n", IMAGES, "--keep", 1, *stop_at(drafts[1])]
    assert draw(tmp_path / "whole", *asked) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        assert draw(tmp_path / "parts", *asked) == 130
        assert "stopped. The same command goes on from here." in caplog.text
    calls = stop_after(monkeypatch, IMAGES)
    assert draw(tmp_path / "parts", *asked) == 0 and calls == [[4], [5]]
    assert draw(tmp_path / "parts", *asked) == 0 and len(calls) == 2
    assert outputs(tmp_path / "parts") == outputs(tmp_path / "whole")
    without = [{i: {**record, "seconds": 0} for i, record in stopped(tmp_path / name).items()} for name in ("parts", "whole")]
    assert without[0] == without[1] and 0 < len(without[0]) < IMAGES


def test_stopped_attempts_count_and_are_not_kept(drafts, tmp_path):
    scores, path = drafts
    good = [i for i, score in enumerate(scores) if score >= np.median(scores)]
    rule = ["--until-kept", 2, "--rule", "threshold", "--value", -1e6, "--max-attempts", IMAGES]
    assert draw(tmp_path, *rule, *stop_at(path)) == 0
    assert kept(tmp_path) == good[:2] and saved(tmp_path)["until"]["attempts"] == good[1] + 1
    left = stopped(tmp_path)
    assert sorted(left) == [i for i in range(good[1]) if i not in good]
    spent = sum(row["calls"] + row["nfe"] for row in rows(tmp_path).values()) + sum(record["calls"] for record in left.values())
    assert saved(tmp_path)["until"]["calls"] == spent


@pytest.mark.parametrize("share", [30, 90])
def test_the_stopped_count_among_the_images_that_the_limit_is_read_off(drafts, tmp_path, share):
    asked = ["--until-kept", 1, "--calibrate-with", IMAGES, "--value", share, "--max-attempts", IMAGES]
    assert draw(tmp_path, *asked, *stop_at(drafts[1])) == 0
    finished, left = [row["score"] for row in rows(tmp_path).values()], len(stopped(tmp_path))
    assert left > 0 and left + len(finished) == IMAGES
    best_first = sorted(finished, reverse=True) + left * [min(finished)]
    at = share / 100 * (IMAGES - 1)
    limit = best_first[int(at)] + (at - int(at)) * (best_first[int(at) + 1] - best_first[int(at)])
    assert saved(tmp_path)["until"]["limit"] == pytest.approx(limit)
    assert kept(tmp_path) and all(rows(tmp_path)[number]["score"] >= limit for number in kept(tmp_path))


def test_a_limit_of_nothing_but_stopped_images_is_refused(drafts, tmp_path, caplog):
    last = int(np.argmin(drafts[0]))
    asked = ["--class", last, "--seed", last, "--until-kept", 1, "--calibrate-with", 1]
    assert draw(tmp_path, *asked, *stop_at(drafts[1], 0)) == 1
    assert "All of the first 1 images were stopped on their way" in caplog.text and "--early-limit" in caplog.text


def test_all_may_be_stopped_and_several_candidates_may_try(drafts, tmp_path):
    scores, path = drafts
    last = int(np.argmin(scores))
    assert draw(tmp_path / "none", "-n", 1, "--class", last, "--seed", last, *stop_at(path, 0)) == 0
    assert rows(tmp_path / "none") == {} and list(stopped(tmp_path / "none")) == [0] and kept(tmp_path / "none") == []
    assert draw(tmp_path / "four", "-n", 2, "--keep", 2, "--best-of", 4, *stop_at(path, 100)) == 0
    assert all(row["candidate"] in range(4) for row in rows(tmp_path / "four").values())


def test_what_does_not_go_with_it_is_refused_in_a_sentence(drafts, tmp_path, caplog):
    path = drafts[1]
    finished = tmp_path / "finished.safetensors"
    Calibration.fit([torch.ones(3)], Direction.LOW_IS_BAD, "information").save(finished)
    for arguments, sentence in (
        (["--mode", "stop"], "The mode stop needs what earlier images scored on their way: name the file with --early-calibration"),
        (stop_at(tmp_path / "none.safetensors"), "none.safetensors' for --early-calibration. To make one, draw with --early-at 0.5"),
        (["--early-limit", 50], "early_limit belongs to the mode stop"),
        (stop_at(path, 50, "--scorer", "denoised"), "scorer belongs to the modes prune and resample"),
        (stop_at(path, 50, "--method", "noise"), "The mode stop needs the method information"),
        (stop_at(finished), "must hold scores of a point on the way"),
        (stop_at(path, 101), "limit must be between 0 and 100, got 101"),
    ):
        caplog.clear()
        assert draw(tmp_path / "out", *arguments) == 1, arguments
        assert sentence in caplog.text, caplog.text
    assert draw(tmp_path / "kept", "-n", 1, *stop_at(path, 100)) == 0
    assert draw(tmp_path / "kept", "-n", 1, *stop_at(path, 90)) == 1 and "made with other options (early_limit" in caplog.text
