"""The score command: what it finds, what it remembers, and what it says when it cannot."""

from __future__ import annotations

import csv
import json
import logging
import os

import numpy as np
import pytest
from PIL import Image

import tiny_text
from tiny_images import write_blank
from uncertainty_nodes.cli import main, parser
from uncertainty_nodes.cli.score import worker as score
from uncertainty_nodes.cli.shared.ledger import Ledger
from uncertainty_nodes.cli.shared.pictures import read_picture
from uncertainty_nodes.core.demo.extractor import load_reference

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' use of numpy
CHEAP = ["--samples", "2", "--levels", "1", "--start-percent", "0.5", "--end-percent", "0.5"]
DIGITS = 12
WRONG = "0"  # the folder that gets what does not belong there


def write_digits(folder, count=DIGITS, wrong=3):
    """Held-out digits sorted into folders by class, the first ``wrong`` that are no 0 into the folder 0."""
    reference, left = load_reference(), wrong
    for i in range(count):
        label = str(int(reference.labels[i]))
        if left and label != WRONG:
            label, name, left = WRONG, f"wrong{i:02d}.png", left - 1
        else:
            name = f"{i:02d}.png"
        pixels = ((reference.images[i, 0] + 1) * 127.5).round().byte().numpy()
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / label / name)
    return folder


def run(*arguments):
    return main(["score", *map(str, arguments)])


def saved(folder, name="uncertainty.json"):
    return json.loads((folder / name).read_text())


def scores(folder, name="uncertainty.json"):
    return {row["file"]: row["score"] for row in saved(folder, name)["rows"]}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Scored once, for tests that leave it as it is."""
    folder = write_digits(tmp_path_factory.mktemp("digits"))
    assert run(folder, *CHEAP) == 0
    return folder


@pytest.fixture
def few(tmp_path):
    return write_digits(tmp_path / "few", count=5, wrong=1)


@pytest.fixture
def one(tmp_path):
    return write_blank(tmp_path / "one")


def test_wrongly_filed_digits_are_ranked_last(digits):
    files = [row["file"] for row in saved(digits)["rows"]]
    assert len(files) == DIGITS
    assert all(file.startswith("0/wrong") for file in files[-3:])
    assert not any("wrong" in file for file in files[:-3])


def test_what_a_result_holds(digits):
    found = saved(digits)
    assert (found["quantity"], found["direction"], found["skipped"]) == ("information", "low_is_bad", {})
    rows = found["rows"]
    assert [row["rank"] for row in rows] == list(range(1, DIGITS + 1))
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert {row["nfe"] for row in rows} == {2 * 2 * 1}
    assert all(row["seconds"] > 0 for row in rows)
    assert all(row["file"].split("/")[0] == str(row["label"]) for row in rows)
    # one antithetic pair leaves no standard error
    assert {row["standard_error"] for row in rows} == {None}
    with (digits / "uncertainty.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(r["file"], float(r["score"])) for r in table] == [(r["file"], r["score"]) for r in rows]


def test_the_standard_error_is_that_of_the_information(few):
    assert run(few, *CHEAP, "--samples", "4") == 0
    assert all(row["standard_error"] > 0 for row in saved(few)["rows"])


@pytest.mark.parametrize(
    ("by", "direction", "draws"),
    [("denoised", "high_is_bad", 5), ("noise", "low_is_bad", 5), ("posterior", "high_is_bad", 5)],
)
def test_the_other_scores(few, by, direction, draws):
    assert run(few, "--by", by, "--levels", "2") == 0
    found = saved(few)
    assert (found["quantity"], found["direction"]) == (by, direction)
    assert {(row["nfe"], row["standard_error"]) for row in found["rows"]} == {(2 * draws, None)}
    values = [row["score"] for row in found["rows"]]
    assert values == sorted(values, reverse=direction == "low_is_bad")


def test_a_second_run_scores_nothing_and_says_so(digits, caplog, monkeypatch):
    before = saved(digits)
    monkeypatch.setattr(score, "measure", None)  # calling it would fail
    with caplog.at_level(logging.INFO):
        assert run(digits, *CHEAP, "--batch", "3") == 0
    assert "Nothing was left to score" in caplog.text
    assert saved(digits) == before


def stopping_after(batches, stop):
    measure = score.measure

    def stopped(*arguments):
        nonlocal batches
        if batches == 0:
            raise stop
        batches -= 1
        return measure(*arguments)

    return stopped


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), ValueError("the disk is on fire")])
def test_a_stopped_run_goes_on_where_it_was(few, caplog, monkeypatch, stop):
    with monkeypatch.context() as patch:
        patch.setattr(score, "measure", stopping_after(1, stop))
        assert run(few, *CHEAP, "--batch", "2") == (130 if isinstance(stop, KeyboardInterrupt) else 1)
    first = scores(few)
    assert len(first) == 2
    with caplog.at_level(logging.INFO):
        assert run(few, *CHEAP, "--batch", "2", "--out", few / "uncertainty.json") == 0
    assert "Scored by an earlier run: 2 of 5" in caplog.text
    assert len(scores(few)) == 5
    assert scores(few).items() >= first.items()
    assert run(few, *CHEAP, "--batch", "2", "--out", few / "whole.json") == 0
    assert scores(few) == pytest.approx(scores(few, "whole.json"), rel=1e-4, abs=1e-4)


def test_scores_are_kept_before_the_end(few, monkeypatch):
    """As after a loss of power, which no handler of ours sees."""
    seen = []
    measure = score.measure
    monkeypatch.setattr(score, "measure", lambda *a: (seen.append(len(Ledger.find(few))), measure(*a))[1])
    assert run(few, *CHEAP, "--batch", "2") == 0
    assert seen == [0, 2, 4]


def test_only_a_changed_file_is_scored_again(few):
    assert run(few, *CHEAP) == 0
    before = scores(few)
    changed = next(few.glob("*/wrong*.png"))
    Image.new("L", (32, 32), 255).save(changed)
    os.utime(changed, ns=(1, 1))
    next(few.glob("[1-9]/*.png")).unlink()
    assert run(few, *CHEAP) == 0
    after = scores(few)
    assert len(after) == 4
    assert {name for name in after if after[name] != before[name]} == {changed.relative_to(few).as_posix()}


def test_a_score_depends_on_the_seed_and_not_on_the_batch(few):
    for name, more in {"a": ["--batch", 1], "b": ["--batch", 5], "c": ["--seed", 1]}.items():
        assert run(few, *CHEAP, *more, "--out", few / f"{name}.json") == 0
    a, b, c = (scores(few, f"{name}.json") for name in "abc")
    assert a == pytest.approx(b, rel=1e-4, abs=1e-4)
    assert all(abs(a[name] - c[name]) > 1e-2 for name in a)


def test_scores_of_other_options_are_not_overwritten(digits, caplog):
    before = (digits / "uncertainty.json").read_bytes()
    assert run(digits, *CHEAP, "--seed", "1") == 1
    assert "made with other options (seed); name another file with --out" in caplog.text
    assert (digits / "uncertainty.json").read_bytes() == before


def test_a_folder_may_move_with_its_scores(few, monkeypatch):
    assert run(few, *CHEAP) == 0
    moved = few.rename(few.with_name("moved"))
    monkeypatch.setattr(score, "measure", None)
    assert run(moved, *CHEAP) == 0


def test_unreadable_images_are_told_and_skipped(few, caplog):
    (few / "1").mkdir(exist_ok=True)
    (few / "1" / "text.png").write_text("no image")
    whole = next(few.glob("0/*.png")).read_bytes()
    (few / "1" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (few / "outside.png").write_bytes(whole)
    (few / "1" / "notes.txt").write_text("not even called an image")
    with caplog.at_level(logging.INFO):
        assert run(few, *CHEAP, "--batch", "2") == 0
    for name in ("1/text.png", "1/cut.png"):
        assert caplog.text.count(f"{name} is no readable image") == 1
    assert "1 images lie outside the folders 0 to 9" in caplog.text
    assert saved(few)["skipped"].keys() == {"1/text.png", "1/cut.png"}
    assert len(saved(few)["rows"]) == 5
    assert not [path for path in few.rglob("*") if path.name.startswith(".") or path.suffix == ".tmp"]


def test_other_sizes_are_resized_and_it_is_said_once(one, caplog):
    for i, size in enumerate([(40, 50), (16, 16), (128, 128)]):
        Image.new("RGBA", size).save(one / f"{i}.png")
    with caplog.at_level(logging.INFO):
        assert run(one, *CHEAP, "--class", "1", "--batch", "2") == 0
    assert caplog.text.count("are resized, as 0.png from (40, 50) to (32, 32)") == caplog.text.count("are resized") == 1
    assert len(scores(one)) == 4


def test_pictures_are_read_as_they_are_seen(tmp_path):
    deep = np.array([[0, 30000, 65535]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.asarray(read_picture(tmp_path / "deep.png").convert("L")).tolist() == [[0, 117, 255]]
    turned = Image.new("L", (4, 2))
    exif = turned.getexif()
    exif[0x0112] = 6  # orientation: a quarter turn
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg").size == (2, 4)
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "real.tif")
    with pytest.raises(ValueError, match="pixels are real numbers"):
        read_picture(tmp_path / "real.tif")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A saved Stable Diffusion pipeline with random weights."""
    folder = tmp_path_factory.mktemp("pipeline")
    tiny_text.make("sd", folder / "words").save_pretrained(folder / "sd")
    return folder / "sd"


def test_a_saved_pipeline_scores_by_its_prompt(pipeline, one, caplog):
    rng = np.random.default_rng(0)
    for i, size in enumerate([(16, 16), (17, 16), (16, 24)]):
        Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8)).save(one / f"{i}.png")
    with caplog.at_level(logging.INFO):
        for name, more in {
            "a": [],
            "b": ["--batch", "1"],
            "c": ["--negative", "dog"],
            "d": ["--by", "noise"],
            "e": ["--negative", "cat"],
        }.items():
            assert run(one, "--model", pipeline, "--prompt", "cat", *CHEAP, *more, "--out", one / f"{name}.json") == 0
    a, b, c, d, e = (scores(one, f"{name}.json") for name in "abcde")
    assert len(a) == 4 and all(a.values()) and len(set(d.values())) == 4
    assert a == pytest.approx(b, rel=1e-3, abs=1e-4)
    assert a != c
    assert not any(e.values()) and "their information is 0" in caplog.text


def test_the_help_tells_defaults_that_are_true():
    from uncertainty_nodes.core.options import AleatoricOptions, InformationOptions

    action = {a.dest: a for a in parser()._subparsers._group_actions[0].choices["score"]._actions}
    information, other = InformationOptions(), AleatoricOptions()
    assert f"{information.draws.samples} by information, else {other.draws.samples}" in action["samples"].help
    assert f"{information.window.start:g}, else {other.window.start:g}" in action["start_percent"].help
    assert f"{information.window.end:g}, else {other.window.end:g}" in action["end_percent"].help
    assert action["levels"].default == information.levels
