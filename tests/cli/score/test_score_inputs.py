"""Scores of what people have: each image's own prompt, single files, and scores that travel in the images."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

import single_files
import tiny_text
from tiny_images import write_pictures
from uncertainty_nodes.cli import main
from uncertainty_nodes.cli.score import worker
from uncertainty_nodes.core.view.notes import read_notes

CHEAP = ["--samples", "2", "--levels", "1"]


def run(*arguments):
    return main(["score", *map(str, arguments)])


def scores(path):
    return {row["file"]: row["score"] for row in json.loads(path.read_text())["rows"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    home = tmp_path_factory.mktemp("model")
    pipe = tiny_text.make("sd", home / "words")
    pipe.save_pretrained(home / "sd")
    single_files.write_single_file(pipe, home / "one.safetensors")
    return home


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "pictures", 3, 16)


def test_each_image_is_scored_by_its_own_prompt(model, pictures, tmp_path):
    words = ["a", "b c", "a"]
    (pictures / "list.csv").write_text("image,prompt\n" + "".join(f"{i}.png,{word}\n" for i, word in enumerate(words)))
    assert run(pictures / "list.csv", "--model", model / "sd", *CHEAP, "--batch", "3") == 0
    own = scores(pictures / "list.uncertainty.json")
    for word in set(words):
        out = tmp_path / f"{word[0]}.json"
        assert run(pictures, "--model", model / "sd", "--prompt", word, *CHEAP, "--out", out) == 0
        for i in (i for i, w in enumerate(words) if w == word):
            assert own[f"{i}.png"] == pytest.approx(scores(out)[f"{i}.png"], rel=1e-4, abs=1e-4)
    rows = json.loads((pictures / "list.uncertainty.json").read_text())["rows"]
    assert {row["file"]: row["prompt"] for row in rows} == {f"{i}.png": word for i, word in enumerate(words)}


def test_a_changed_prompt_is_scored_again_and_no_other(model, pictures, monkeypatch):
    for i in range(3):
        (pictures / f"{i}.txt").write_text("a")
    assert run(pictures, "--model", model / "sd", *CHEAP) == 0
    before = scores(pictures / "uncertainty.json")
    (pictures / "1.txt").write_text("b c")
    assert run(pictures, "--model", model / "sd", *CHEAP) == 0
    after = scores(pictures / "uncertainty.json")
    assert {name for name in before if before[name] != after[name]} == {"1.png"}


def test_one_file_scores_as_its_folder_does(model, pictures, tmp_path):
    how = ["--prompt", "a", *CHEAP]
    assert run(pictures, "--model", model / "sd", *how) == 0
    assert run(pictures, "--model", model / "one.safetensors", "--config", model / "sd", *how, "--out", tmp_path / "one.json") == 0
    assert scores(tmp_path / "one.json") == scores(pictures / "uncertainty.json")


@pytest.fixture
def digits(tmp_path):
    folder = write_pictures(tmp_path / "digits", 2, 32)
    with Image.open(folder / "0.png") as first:
        first.save(folder / "0.webp", lossless=True)
        first.save(folder / "0.jpg")
        first.save(folder / "0.bmp")
    return folder


def test_scores_travel_in_the_images(digits, tmp_path, monkeypatch):
    assert run(digits, "--class", "1", *CHEAP, "--note") == 0
    expected = scores(digits / "uncertainty.json")
    for name in expected:
        if not name.endswith(".bmp"):
            (note,) = read_notes(digits / name)
            assert (note.quantity, note.score, note.model_calls) == ("information", expected[name], 4)
            assert note.percentile == pytest.approx(20 * (5 - sorted(expected, key=lambda n: (-expected[n], n)).index(name)))
    monkeypatch.setattr(worker, "measure", None)  # calling it would fail
    assert run(digits, "--class", "1", *CHEAP, "--note") == 0  # the files changed by our own hand
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in expected:
        if not name.endswith(".bmp"):
            shutil.copy(digits / name, moved / f"new {name}")
    assert run(moved, "--class", "1", *CHEAP, "--resume") == 0
    assert scores(moved / "uncertainty.json") == {f"new {name}": score for name, score in expected.items() if not name.endswith(".bmp")}


def test_what_a_kill_left_half_written_beside_an_image_goes_and_what_others_hide_there_stays(digits):
    left, others = digits / f".0.png.{'0' * 32}.tmp", digits / ".hidden.tmp"
    for path in (left, others):
        path.write_bytes(b"half")
    assert run(digits, "--class", "1", *CHEAP, "--note") == 0
    assert not left.exists() and others.exists()


def test_scores_made_in_another_way_are_not_taken(digits, monkeypatch):
    assert run(digits, "--class", "1", *CHEAP, "--note", "--out", digits / "a.json") == 0
    assert run(digits, "--class", "1", *CHEAP, "--seed", "1", "--resume", "--out", digits / "b.json") == 0
    a, b = scores(digits / "a.json"), scores(digits / "b.json")
    assert all(a[name] != b[name] for name in a)
    assert all(read_notes(digits / name)[0].score == a[name] for name in a if not name.endswith(".bmp"))
