"""calibrate: the scores of runs in one file, by which generate stops and keeps, and sort keeps; what doesn't belong together is refused."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from bad_items import run, write_classes
from drawing_runs import STEPS, draw, drawn_alone, kept, rows, saved
from uncertainty_nodes.cli.calibrate.options import CalibrateOptions
from uncertainty_nodes.cli.calibrate.runs import Image as Scored
from uncertainty_nodes.cli.calibrate.runs import RunScores
from uncertainty_nodes.core.options import BestOfOptions, Direction, Scorer
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.hosts.diffusers.demo import load_demo
from uncertainty_nodes.hosts.diffusers.search.best_of import best_of
from uncertainty_nodes.hosts.diffusers.search.candidates import DigitCandidates

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy
IMAGES = 8


@pytest.fixture(scope="module")
def drafts(tmp_path_factory):
    """Eight images that are scored in the middle of their run."""
    out = tmp_path_factory.mktemp("drafts") / "out"
    assert draw(out, "-n", IMAGES, "--keep", IMAGES, "--early-at", 0.5) == 0
    return out


def calibrate(folder, file, *more):
    assert run("calibrate", folder, "--out", file, *more) == 0
    return Calibration.load(file)


def scores_of(out):
    return [row["score"] for row in rows(out).values()]


def test_images_that_are_scored_on_their_way_are_what_they_are_without(drafts):
    for number, row in rows(drafts).items():
        assert np.array_equal(np.asarray(Image.open(drafts / row["file"])), drawn_alone(number, number))
        assert row["calls"] == STEPS + 4  # two draws, with and without the digit
        candidates = DigitCandidates(*load_demo(), number, STEPS)
        found = best_of(candidates, options=BestOfOptions(2, points=(0.5,), fractions=(0.5,), seed=number))
        assert row["early"]["information"] == pytest.approx(float(found.rounds[0].scores[Scorer.INFORMATION][0]), rel=1e-4)
        assert row["early"]["trajectory"] > 0 and "condition_gap" not in row["early"]  # without guidance there is none


def test_the_file_holds_the_scores_and_how_they_are_made(drafts, tmp_path, caplog):
    caplog.set_level("INFO")
    history = calibrate(drafts, tmp_path / "c.safetensors", "--prompt-kind", "digits")
    assert history.scores.tolist() == sorted(scores_of(drafts))
    assert (history.quantity, history.direction) == ("information", Direction.LOW_IS_BAD)
    assert history.settings == saved(drafts)["made_with"] | {"prompt kind": "digits"}
    told = {"host": "diffusers", "model": "UNet2DModel", "sampler": "DDIMScheduler", "steps": str(STEPS), "cfg": "1", "samples": "2"}
    assert told.items() < history.settings.items()
    assert "8 scores of information" in caplog.text and "These are few" in caplog.text
    early = CalibrateOptions(drafts, early=True).path
    assert (CalibrateOptions(drafts / "results.json").path, early) == (
        drafts / "calibration.safetensors",
        drafts / "early_calibration.safetensors",
    )


def test_runs_are_added_and_none_of_them_twice(drafts, tmp_path, caplog):
    caplog.set_level("INFO")
    file, other, grown = tmp_path / "c.safetensors", tmp_path / "other", tmp_path / "grown"
    calibrate(drafts, file)
    assert draw(other, "-n", 3, "--seed", 1) == 0
    both = calibrate(other, file)
    assert both.scores.tolist() == sorted(scores_of(drafts) + scores_of(other)) and both.seen == IMAGES + 3
    assert calibrate(other, file).seen == calibrate(drafts, file).seen == IMAGES + 3
    assert f"Images added: 0. Of {other} the file holds 3 now." in caplog.text
    for count in (2, 5):
        assert draw(grown, "-n", count, "--seed", 2) == 0
        assert calibrate(grown, file).seen == IMAGES + 3 + count
    assert calibrate(grown, file).scores.tolist() == sorted(scores_of(drafts) + scores_of(other) + scores_of(grown))
    assert len(calibrate(drafts, tmp_path / "small.safetensors", "--limit", 10)) == IMAGES
    assert len(calibrate(other, tmp_path / "small.safetensors", "--limit", 10)) == 10


def test_a_run_may_stop_by_what_another_scored_on_its_way_and_adds_to_it(drafts, tmp_path):
    file, out = tmp_path / "early.safetensors", tmp_path / "out"
    early = calibrate(drafts, file, "--early")
    assert early.quantity == "information at 0.5" and "samples" not in early.settings  # of finished images
    assert early.scores.tolist() == sorted(row["early"]["information"] for row in rows(drafts).values())
    asked = ["-n", IMAGES, "--seed", 1, "--mode", "stop", "--early-calibration", file, "--early-limit", 50]
    assert draw(out, *asked) == 0
    going, left = rows(out), saved(out)["skipped"]
    limit = float(np.percentile(early.scores.numpy(), 50))
    assert going and left and len(going) + len(left) == IMAGES
    assert all(row["early"]["information"] >= limit for row in going.values())
    assert all(record["early"]["information"] == record["score"] < limit for record in left.values())
    on_the_way = [record["early"]["information"] for record in (*going.values(), *left.values())]
    assert calibrate(out, file, "--early").scores.tolist() == sorted([*early.scores.tolist(), *on_the_way])
    finished = calibrate(out, tmp_path / "finished.safetensors")
    assert finished.scores.tolist() == sorted(scores_of(out) + len(left) * [min(scores_of(out))])  # the stopped count as the worst


def test_a_run_is_kept_by_it_as_by_the_images_themselves(drafts, tmp_path):
    file, out = tmp_path / "c.safetensors", tmp_path / "out"
    calibrate(drafts, file)
    asked = ["--until-kept", 2, "--max-attempts", IMAGES, "--calibration", file, "--value", 50]
    assert draw(out, *asked) == 0
    good = [number for number, row in sorted(rows(drafts).items()) if row["score"] >= np.median(scores_of(drafts))]
    assert kept(out) == good[:2] and saved(out)["until"]["limit"] == pytest.approx(np.median(scores_of(drafts)))


def test_an_early_stop_is_learned_from_labels(drafts, tmp_path, caplog):
    caplog.set_level("INFO")
    file, labels = tmp_path / "early.safetensors", tmp_path / "labels.csv"
    calibrate(drafts, file, "--early")
    names = [row["file"] for row in rows(drafts).values()]
    labels.write_text("file,label\n" + "".join(f"{name},{'bad' if i % 2 else 'good'}\n" for i, name in enumerate(names)))
    history = calibrate(drafts, file, "--early", "--labels", labels)
    assert history.seen == IMAGES and len(history.labelled) == IMAGES and int(history.bad.sum()) == IMAGES // 2
    by_score = {row["early"]["information"]: row for row in rows(drafts).values()}
    for score, bad, trajectory in zip(history.labelled.tolist(), history.bad.tolist(), history.further["trajectory"].tolist(), strict=True):
        row = by_score[score]
        assert bad == bool(names.index(row["file"]) % 2) and trajectory == row["early"]["trajectory"]
    assert history.early_stop().names == ("information", "trajectory")
    assert "An early stop is learned from information, trajectory" in caplog.text and "8 labelled images, 4 of them bad." in caplog.text


def test_labels_count_no_score_twice_where_the_file_holds_a_sample(tmp_path, caplog):
    caplog.set_level("INFO")
    file, labels, out = tmp_path / "c.safetensors", tmp_path / "labels.csv", tmp_path / "out"
    assert draw(out, "-n", 12) == 0
    before = calibrate(out, file, "--limit", 10)
    assert (len(before), before.seen) == (10, 12)
    labels.write_text("file,label\n" + "".join(f"{row['file']},{'bad' if i < 3 else 'good'}\n" for i, row in rows(out).items()))
    after = calibrate(out, file, "--limit", 10, "--labels", labels)
    assert after.seen == 12 and torch.equal(after.scores, before.scores) and "Images labelled: 12." in caplog.text
    by_score = {row["score"]: i for i, row in rows(out).items()}
    assert {by_score[score]: bad for score, bad in zip(after.labelled.tolist(), after.bad.tolist(), strict=True)} == {
        i: i < 3 for i in range(12)
    }


@pytest.mark.parametrize("sign", [1, -1])
def test_the_stopped_count_as_the_worst_however_a_run_was_added(sign):
    """Images 3 and 4 were stopped; the worst that was finished, image 0, was added before them."""
    direction = Direction.HIGH_IS_BAD if sign > 0 else Direction.LOW_IS_BAD
    images = [
        Scored(f"{i}.png", sign * score if score else None, {}, score is None) for i, score in enumerate((5.0, 1.0, 2.0, None, None, 3.0))
    ]
    whole = RunScores("name", "folder", "information", direction, {}, images, in_order=True)
    first = replace(whole, images=images[:2])
    before = first.calibration(first)
    grown = before.merge(whole.calibration(whole.since(2, before)))
    assert torch.equal(grown.scores, whole.calibration(whole).scores)
    assert (sign * grown.scores).sort().values.tolist() == [1, 2, 3, 5, 5, 5] and grown.collected == {"name": 6}


def test_of_a_grown_folder_the_new_images_are_those_whose_scores_are_not_in_the_file():
    def folder(*scores):
        images = [Scored(f"{score}.png", score, {}, False) for score in scores]
        return RunScores("name", "photos", "denoised", Direction.HIGH_IS_BAD, {}, images, in_order=False)

    before = folder(4.0, 2.0)
    history = before.calibration(before)
    assert folder(4.0, 3.0, 2.0, 1.0).since(2, history).scores.tolist() == [3, 1]
    assert len(folder(4.0, 2.0).since(2, history).images) == 0
    for ambiguous in (folder(4.0, 2.0, 2.0), folder(4.0, 3.0, 1.0)):  # two with one score; one whose score is no longer there
        with pytest.raises(ValueError, match="holds 2 images of 'photos', which has 3 now, and which of these are new is not known"):
            ambiguous.since(2, history)


def test_labels_that_cannot_be_read_leave_the_file_as_it_was_and_tell_of_nothing_added(drafts, tmp_path, caplog):
    caplog.set_level("INFO")
    file, labels = tmp_path / "c.safetensors", tmp_path / "labels.csv"
    for text, sentence in (
        ("kept/000000.png,fine", "must say good or bad under label, got 'fine'"),
        ("other.png,good", "None of the images that"),
    ):
        labels.write_text(f"file,label\n{text}\n")
        assert run("calibrate", drafts, "--out", file, "--labels", labels) == 1
        assert sentence in caplog.text and "Images added" not in caplog.text and not file.exists()


def test_a_run_of_which_nothing_is_finished_is_told(drafts, tmp_path, caplog):
    file, out = tmp_path / "early.safetensors", tmp_path / "out"
    calibrate(drafts, file, "--early")
    history = Calibration.load(file)
    replace(history, scores=history.scores + 100).save(file)  # beside which all are hopeless
    assert draw(out, "-n", 2, "--mode", "stop", "--early-calibration", file) == 0
    assert run("calibrate", out, "--out", tmp_path / "c.safetensors") == 1
    assert "has a score yet: wait for the first ones of score or generate. 2 were stopped on their way: --early collects" in caplog.text
    assert "doesn't tell" not in caplog.text
    assert len(calibrate(out, tmp_path / "e.safetensors", "--early")) == 2
    assert "doesn't tell how its scores were made, so that only you know whether they belong with others" in caplog.text


def test_what_was_scored_in_a_folder_judges_an_archive(tmp_path, caplog):
    caplog.set_level("INFO")
    images, file = write_classes(tmp_path / "images"), tmp_path / "c.safetensors"
    asked = ["score", images, "--by", "denoised", "--levels", 1, "--samples", 2, "--note"]
    assert run(*asked) == 0
    history = calibrate(images, file)
    assert history.settings["model"] == "UNet2DModel" and "weights" in history.settings and history.direction is Direction.HIGH_IS_BAD
    assert calibrate(images, file).seen == len(history)
    assert run("sort", images, "--keep", 30, "--calibration", file, "--out", tmp_path / "sorted") == 0
    limit = float(np.percentile(history.scores.numpy(), 30))
    with (tmp_path / "sorted" / "sorted.csv").open() as table:
        judged = [(float(row["score"]), row["kept"] == "yes") for row in csv.DictReader(table)]
    assert 0 < sum(keep for _, keep in judged) < len(judged) and all(keep == (score <= limit) for score, keep in judged)
    Image.open(images / "3" / "0.png").rotate(90).save(images / "3" / "0 new.png")
    assert run(*asked) == 0 and calibrate(images, file).seen == len(history) + 1


def test_what_does_not_belong_together_is_refused_in_a_sentence(drafts, tmp_path, caplog):
    early, finished, out = tmp_path / "early.safetensors", tmp_path / "c.safetensors", tmp_path / "out"
    calibrate(drafts, early, "--early")
    calibrate(drafts, finished, "--prompt-kind", "digits")
    assert draw(tmp_path / "other", "-n", 1, "--guidance-scale", 2) == 0
    stop = ["generate", "--mode", "stop", "--early-calibration", early, "--out", out]
    keep = ["generate", "--until-kept", 1, "--calibration", finished, "--out", out]
    made = "This calibration holds scores made with "
    for arguments, sentence in (
        ([*stop, "--steps", 5], f"{made}steps '4', but scores made with steps '5'"),
        ([*stop, "--steps", STEPS, "--guidance-scale", 2], f"{made}cfg '1', but scores made with cfg '2'"),
        ([*keep, "--steps", 5], f"{made}steps '4', but scores made with steps '5'"),
        ([*keep, "--steps", STEPS, "--samples", 4], f"{made}samples '2', but scores made with samples '4'"),
        ([*keep, "--steps", STEPS, "--method", "noise"], "This calibration holds 'information' scores (low_is_bad), but 'noise' scores"),
        (["calibrate", tmp_path / "other", "--out", finished], f"{made}cfg '1', but scores made with cfg '2'"),
        (["calibrate", drafts, "--out", early], "This calibration holds 'information at 0.5' scores"),
        (["calibrate", drafts, "--out", finished, "--prompt-kind", "letters"], f"{made}prompt kind 'digits', but scores made with"),
        (["calibrate", tmp_path / "other", "--early", "--out", early], "were not scored on their way: draw some with generate --early-at"),
        (["calibrate", drafts, "--out", tmp_path / "c.json"], "out must name a .safetensors file"),
        (["calibrate", tmp_path], "There are no results in"),
        (["generate", "--early-at", 2, "--out", out], "early_at must be between 0 and 1, got 2"),
        (["generate", "--early-at", 0.5, "--best-of", 2, "--out", out], "leave out --best-of"),
        (["generate", "--early-at", 0.5, "--method", "noise", "--out", out], "early_at needs the method information"),
        (["generate", "--early-at", 0.5, "--scorer", "condition_gap", "--out", out], "give --guidance-scale"),
    ):
        caplog.clear()
        assert run(*arguments) == 1, arguments
        assert sentence in caplog.text, (arguments, caplog.text)
    again = calibrate(drafts, finished, "--prompt-kind", "digits")
    assert again.seen == IMAGES and torch.equal(again.scores, again.scores.sort().values)
