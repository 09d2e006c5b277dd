"""Scores that are stored in images: shown, and an archive sorted by them with no model."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uncertainty_nodes.cli import main
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.view.notes import Note, write_note, write_notes
from uncertainty_nodes.core.view.notes.looks import look_of

OTHER_DISK = Path("/dev/shm")
SCORES = {"a.png": 3.0, "b.jpg": 1.0, "c.webp": 4.0, "deep/d.png": None, "e.png": 2.0}


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    for name, score in SCORES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name)
        write_note(folder / name, Note("information", Direction.LOW_IS_BAD, score, 0.5, 80.0, True, "rank 2 of 5", 8, 0.25, 7, "demo"))
    return folder


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_show_says_it_in_words(archive, capsys):
    assert main(["show", str(archive / "a.png"), str(archive / "deep/d.png")]) == 0
    text = capsys.readouterr().out
    assert "information: 3 ± 0.5 (low is bad)" in text and "no score: not finite" in text
    assert "as sure as, 80 % of the images" in text and "accepted: rank 2 of 5" in text and "8 model calls, 0.25 s, seed 7" in text


def test_show_as_json(archive, capsys):
    assert main(["show", "--json", str(archive / "b.jpg")]) == 0
    ((name, (note,)),) = json.loads(capsys.readouterr().out).items()
    assert name.endswith("b.jpg") and (note["version"], note["score"], note["seed"]) == (1, 1.0, 7)


def test_show_says_what_is_no_file(archive, caplog):
    assert main(["show", str(archive)]) == 1 and "is a folder: name the image files in it" in caplog.text
    assert main(["show", str(archive / "nowhere.png")]) == 1 and "There is no file" in caplog.text
    assert "Errno" not in caplog.text


def test_show_goes_on_after_a_file_that_it_can_not_read(archive, tmp_path, capsys, caplog):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    assert main(["show", str(broken), str(archive / "a.png"), str(tmp_path / "gone.png")]) == 1
    assert "information: 3" in capsys.readouterr().out
    assert "broken.png" in caplog.text and "There is no file" in caplog.text and "2 of the 3 files can't be shown" in caplog.text


def test_show_finds_the_image_of_a_batch(tmp_path, capsys, caplog):
    shades = [np.full((16, 16, 3), shade, np.uint8) for shade in (20, 200)]
    notes = [Note("noise", Direction.LOW_IS_BAD, float(i), image=i, look=look_of(pixels / 255)) for i, pixels in enumerate(shades)]
    for name, pixels in (("second.png", shades[1]), ("other.png", np.full((16, 16, 3), 110, np.uint8))):
        Image.fromarray(pixels).save(tmp_path / name)
        write_notes(tmp_path / name, notes)
    assert main(["show", str(tmp_path / "second.png"), str(tmp_path / "other.png")]) == 0
    assert "noise: 1 (low is bad)" in capsys.readouterr().out
    assert "other.png holds the scores of a batch of images, and is none of them clearly" in caplog.text


def test_bad_files_are_one_sentence(tmp_path, caplog):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.bmp")
    for name, words in (("plain.png", "No score is stored there"), ("a.bmp", "no PNG, JPEG or WebP image"), ("gone.png", "gone.png")):
        assert main(["show", str(tmp_path / name)]) == 1
        assert words in caplog.text
    assert main(["sort", str(tmp_path)]) == 1
    assert "None of the 2 images in" in caplog.text and "score --note writes them" in caplog.text
    assert main(["sort", str(tmp_path), "--keep", "101"]) == 1
    assert "keep must be" in caplog.text


def test_sort_writes_the_order_and_moves_nothing(archive):
    before = sorted(path.name for path in archive.rglob("*"))
    assert main(["sort", str(archive), "--keep", "60"]) == 0
    table = rows(archive / "sorted.csv")
    assert [row["file"] for row in table] == ["c.webp", "a.png", "e.png", "b.jpg", "deep/d.png"]
    assert [row["kept"] for row in table] == ["yes"] * 3 + ["no"] * 2
    assert sorted(path.name for path in archive.rglob("*") if path.name != "sorted.csv") == before


@pytest.mark.parametrize("put", ["move", "copy"])
def test_sort_puts_images_apart_and_replaces_none(archive, put):
    (archive / "kept").mkdir()
    Image.new("RGB", (4, 4)).save(archive / "kept" / "a.png")  # of another run, and without a score
    assert main(["sort", str(archive), "--keep", "60", "--put", put]) == 0
    assert sorted(p.name for p in (archive / "kept").iterdir()) == ["a (1).png", "a.png", "c.webp", "e.png"]
    assert sorted(p.name for p in (archive / "rejected").iterdir()) == ["b.jpg", "d.png"]
    assert (archive / "b.jpg").exists() == (put == "copy")
    assert Image.open(archive / "kept" / "a.png").size == (4, 4)


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("put", ["move", "copy"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_second_run_doubles_nothing_and_another_share_changes_sides(archive, tmp_path, put, elsewhere):
    (archive / "f").mkdir()
    for name in ("f/a.png", "f/e.png"):  # one of the same name, one with the same bytes too
        (archive / name).write_bytes((archive / ("a.png" if name == "f/a.png" else "b.jpg")).read_bytes())
    out = ["--out", str(tmp_path / "out")] if elsewhere else []
    target = tmp_path / "out" if elsewhere else archive
    asked = ["sort", str(archive), "--put", put, *out]
    assert main([*asked, "--keep", "60"]) == 0
    once, table = files_in(target), rows(target / "sorted.csv")
    assert sum(name.startswith(("kept/", "rejected/")) for name in once) == len(table) == 7
    assert main([*asked, "--keep", "60"]) == 0
    assert files_in(target) == once and rows(target / "sorted.csv") == table
    assert main([*asked, "--keep", "100"]) == 0
    assert len(files_in(target / "kept")) == 7 and files_in(target / "rejected") == []
    assert len(files_in(archive)) == {"move": 0, "copy": 7}[put] if elsewhere else True


def test_a_name_that_many_folders_use_is_not_looked_up_anew_each_time(tmp_path, monkeypatch):
    for number in range(60):
        path = tmp_path / "archive" / f"{number:02}" / "0.png"
        path.parent.mkdir(parents=True)
        Image.new("L", (8, 8), number).save(path)
        write_note(path, Note("information", Direction.LOW_IS_BAD, float(number)))
    looked, exists = [], Path.exists
    monkeypatch.setattr(Path, "exists", lambda path, **more: looked.append(path.name) or exists(path, **more))
    assert main(["sort", str(tmp_path / "archive"), "--put", "move", "--keep", "50"]) == 0
    names = {"0.png", *(f"0 ({number}).png" for number in range(1, 30))}
    assert {path.name for path in (tmp_path / "archive" / "kept").iterdir()} == names
    assert {path.name for path in (tmp_path / "archive" / "rejected").iterdir()} == names
    assert sum(name in names for name in looked) < 4 * 60


@pytest.mark.parametrize("put", ["move", "copy"])
def test_another_image_of_the_same_name_size_and_time_is_no_copy(tmp_path, put):
    with tempfile.TemporaryDirectory(dir=OTHER_DISK if OTHER_DISK.is_dir() else None) as other:
        asked = ["sort", str(tmp_path / "archive"), "--put", put, "--out", other, "--keep", "100"]
        for score, day in ((1.0, "monday"), (2.0, "tuesday")):
            path = tmp_path / "archive" / day / "a.bmp.png"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (8, 8), (round(score), 0, 0)).save(path, compress_level=0)
            write_note(path, Note("information", Direction.LOW_IS_BAD, score))
            os.utime(path, (1e9, 1e9))
            pixels = path.read_bytes()
            assert main(asked) == 0  # the second image comes when the first has been put there
        assert sorted(path.stat().st_size for path in Path(other).rglob("*.png")) == [len(pixels)] * 2
        assert pixels in [path.read_bytes() for path in Path(other).rglob("*.png")]


@pytest.mark.skipif(not OTHER_DISK.is_dir(), reason="there is no second disk in memory here")
@pytest.mark.parametrize("cut_at", range(6))
def test_a_move_to_another_disk_that_is_cut_between_copy_and_removal_doubles_nothing(archive, monkeypatch, cut_at):
    with tempfile.TemporaryDirectory(dir=OTHER_DISK) as other:
        assert archive.stat().st_dev != Path(other).stat().st_dev
        asked = ["sort", str(archive), "--put", "move", "--out", other, "--keep", "60"]
        pixels = {name: (archive / name).read_bytes() for name in SCORES}
        removed, unlink = [], Path.unlink

        def cut(path, **more):
            if path.parent in (archive, archive / "deep"):
                removed.append(path)
                if len(removed) == cut_at + 1:
                    raise KeyboardInterrupt
            unlink(path, **more)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", cut)
            assert main(asked) == (130 if cut_at < 5 else 0)
        assert main(asked) == 0
        assert files_in(Path(other)) == ["kept/a.png", "kept/c.webp", "kept/e.png", "rejected/b.jpg", "rejected/d.png", "sorted.csv"]
        assert files_in(archive) == []
        assert all(next(Path(other).rglob(Path(name).name)).read_bytes() == content for name, content in pixels.items())
        assert [row["file"] for row in rows(Path(other) / "sorted.csv")][0] == "kept/c.webp"


def test_other_ways_of_scoring_are_left_out_and_told(archive, caplog):
    write_notes(archive / "a.png", [Note("information", Direction.LOW_IS_BAD, 9.0, method="another")])
    write_note(archive / "b.jpg", Note("noise", Direction.LOW_IS_BAD, 9.0))
    assert main(["sort", str(archive)]) == 0
    assert "1 of 5 images carry no score that can be compared" in caplog.text and "information (another)" in caplog.text
    assert "a.png" not in [row["file"] for row in rows(archive / "sorted.csv")]
    assert main(["sort", str(archive), "--by", "noise"]) == 0
    assert [row["file"] for row in rows(archive / "sorted.csv")] == ["b.jpg"]
