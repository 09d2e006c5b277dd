"""kill -9 at twenty random moments of the commands that load no model: sort, report and export; and of the demo."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bad_items import run
from killing import kill_again_and_again, visible_files
from report_page import write_results
from uncertainty_nodes.cli.shared.ledger import Ledger
from uncertainty_nodes.cli.shared.records import DRAWINGS
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.view.notes import Note, write_note

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # diffusers' use of numpy
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes"),
]
OTHER_DISK = Path("/dev/shm")
PICTURES, ROWS = 32, 1500


def write_archive(folder: Path) -> Path:
    """Pictures with scores, no two alike; two of each name."""
    rng = np.random.default_rng(0)
    for i in range(PICTURES):
        path = folder / f"{i % 2}" / f"{i // 2:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)).save(path)
        write_note(path, Note("information", Direction.LOW_IS_BAD, float(i % 10)))
    return folder


def contents(*folders: Path) -> Counter[bytes]:
    """Of the pictures that a person sees there."""
    return Counter(path.read_bytes() for folder in folders for path in folder.rglob("[!.]*.png"))


@pytest.mark.parametrize(("put", "where"), [("move", "here"), ("move", "on another disk"), ("copy", "here")])
def test_sort(tmp_path, put, where):
    if where != "here" and not OTHER_DISK.is_dir():
        pytest.skip("there is no second disk in memory here")
    pristine, folder = write_archive(tmp_path / "pristine"), tmp_path / "archive"
    whole = contents(pristine)
    assert set(whole.values()) == {1}
    shutil.copytree(pristine, folder)
    with tempfile.TemporaryDirectory(dir=OTHER_DISK if where != "here" else tmp_path) as other:
        out = Path(other) / "out"

        def check():
            assert contents(folder, out).keys() == whole.keys()  # a move to another disk has both for a moment
            sides = contents(out)
            assert not sides or max(sides.values()) == 1

        def at_end():
            check()
            assert contents(out) == whole and contents(folder) == (whole if put == "copy" else Counter())
            with (out / "sorted.csv").open() as file:
                rows = list(csv.DictReader(file))
            assert len(rows) == PICTURES and sum(row["kept"] == "yes" for row in rows) == 24 == len(list((out / "kept").iterdir()))
            ends.add((tuple(row["file"] for row in rows), tuple(visible_files(out))))

        def clear():
            shutil.rmtree(out)
            shutil.rmtree(folder)
            shutil.copytree(pristine, folder)

        ends: set[tuple] = set()
        kill_again_and_again(["sort", folder, "--put", put, "--out", out], check, at_end, clear)
        assert len(ends) == 1  # whatever was killed before


def test_report(tmp_path):
    folder = write_results(tmp_path / "job", 12, ["a", "b"], maps=True)
    whole, out = tmp_path / "whole", folder / "report"
    assert run("report", folder, "--out", whole) == 0

    def check():
        for path in out.rglob("[!.]*.webp"):
            Image.open(path).load()
        if (out / "index.html").exists():
            assert (out / "index.html").read_text().rstrip().endswith("</html>")
            assert all((out / name).is_file() for name in shown(out))

    def at_end():
        check()
        assert len(shown(out)) == 2 * 12 and visible_files(out) == visible_files(whole)
        assert [Image.open(out / name).tobytes() for name in shown(out)] == [Image.open(whole / name).tobytes() for name in shown(whole)]

    kill_again_and_again(["report", folder], check, at_end, lambda: shutil.rmtree(out))


def shown(report: Path) -> list[str]:
    """The small pictures that the page names."""
    data = json.loads((report / "data.js").read_text().removeprefix("window.REPORT = ").rstrip(";\n"))
    return [*data["thumb"], *data["heat"]]


def test_export(tmp_path):
    with Ledger.open(tmp_path / "results.json", DRAWINGS, {}) as ledger:
        ledger.update_header({"quantity": "noise", "direction": "low_is_bad"})
        ledger.append({"image": i, "score": i * 7919 % 1000 / 7, "seconds": 0.5, "file": f"new/{i:06d}.png"} for i in range(ROWS))
    (tmp_path / "results.json").write_text("{}")  # of a run before, which stays whole until the new one is
    files = "results.csv", "results.json", "results.sqlite"

    def check():
        content = json.loads((tmp_path / "results.json").read_text())
        assert content == {} or len(content["images"]) == ROWS
        if (tmp_path / "results.csv").exists():
            with (tmp_path / "results.csv").open() as file:
                assert len(list(csv.DictReader(file))) == ROWS

    def at_end():
        check()
        with Ledger.find(tmp_path) as ledger:
            assert list(ledger.ranked()) == json.loads((tmp_path / "results.json").read_text())["images"]

    def clear():
        (tmp_path / "results.csv").unlink()
        (tmp_path / "results.json").write_text("{}")

    kill_again_and_again(["export", tmp_path], check, at_end, clear)
    with Ledger.open(tmp_path / "results.json", DRAWINGS, {}):  # the job itself goes on, and clears away what the kills left
        pass
    assert tuple(visible_files(tmp_path)) == files


def test_demo(tmp_path):
    asked = ["--images", 4, "--steps", 2, "--samples", 2]
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run("demo", "--out", whole, *asked) == 0

    def check():
        for path in out.rglob("[!.]*.png"):
            Image.open(path).load()
        if (out / "results.json").exists():
            json.loads((out / "results.json").read_text())

    def at_end():
        check()
        assert visible_files(out) == visible_files(whole)

    kill_again_and_again(["demo", "--out", out, *asked], check, at_end, lambda: shutil.rmtree(out))
