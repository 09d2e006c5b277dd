"""kill -9 at twenty random moments: no image is lost, doubled or half written, and the end is that of a run that nobody stopped."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from bad_items import IMAGES, run, write_classes
from killing import kill_again_and_again, rows_of, visible_files

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # diffusers' use of numpy
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes"),
]


class Growing:
    """A check that what was known once is known still, the same."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.before = folder, {}

    def check(self) -> None:
        if any(file.stat().st_size for file in self.folder.glob("*.sqlite")):  # empty: killed before its tables were there
            now = rows_of(self.folder)
            assert all(now[key]["score"] == row["score"] for key, row in self.before.items())
            self.before.update(now)

    def clear(self) -> None:
        self.before.clear()
        shutil.rmtree(self.folder)


def test_generate(tmp_path):
    asked = ["-n", 16, "--batch", 2, "--method", "noise", "--steps", 4, "--samples", 2]
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run("generate", "--out", whole, *asked) == 0
    grown = Growing(out)

    def check():
        grown.check()
        for path in out.rglob("[0-9]*.png"):
            Image.open(path).load()  # raises for half a picture
        if grown.before:
            names = [f"{int(key):06d}" for key in rows_of(out)]
            assert all(any((out / folder / f"{name}.png").is_file() for folder in ("new", "kept", "rejected")) for name in names)
            assert all((out / "maps" / f"{name}.npy").is_file() for name in names)
        for path in out.rglob("[0-9]*.npy"):
            np.load(path)

    def at_end():
        check()
        assert rows_of(out) == rows_of(whole) and visible_files(out) == visible_files(whole)
        for file in visible_files(out):
            if file.endswith(".png"):
                assert Image.open(out / file).tobytes() == Image.open(whole / file).tobytes()
            elif file.endswith(".npy"):
                assert (out / file).read_bytes() == (whole / file).read_bytes()

    assert len(rows_of(whole)) == len(list(whole.rglob("*.png"))) == len(list(whole.rglob("*.npy"))) == 16
    kill_again_and_again(["generate", "--out", out, *asked], check, at_end, grown.clear)


def test_score(tmp_path):
    folder, whole, out = write_classes(tmp_path / "images"), tmp_path / "whole", tmp_path / "out"
    for label in range(IMAGES):
        for copy in (1, 2):
            shutil.copy(folder / str(label) / "0.png", folder / str(label) / f"{copy}.png")
    (folder / "3" / "2.png").write_text("no image")
    pristine = shutil.copytree(folder, tmp_path / "pristine")
    asked = [folder, "--batch", 2, "--levels", 1, "--samples", 2, "--maps", "--note"]
    assert run("score", *asked, "--out", whole) == 0
    grown = Growing(out)

    def check():
        grown.check()
        for path in pristine.rglob("*.png"):
            if path.name != "2.png" or path.parent.name != "3":
                assert Image.open(folder / path.relative_to(pristine)).tobytes() == Image.open(path).tobytes()

    def at_end():
        check()
        assert names_and_scores(out) == names_and_scores(whole) and visible_files(out) == visible_files(whole)
        assert visible_files(folder) == visible_files(pristine)

    def clear():
        grown.clear()
        shutil.rmtree(folder)
        shutil.copytree(pristine, folder)

    assert len(rows_of(whole)) == 3 * IMAGES - 1
    shutil.rmtree(folder)
    shutil.copytree(pristine, folder)  # without notes
    kill_again_and_again(["score", *asked, "--out", out], check, at_end, clear)


def names_and_scores(folder: Path) -> dict[str, tuple]:
    """Without the files' sizes and times, which notes change."""
    return {key: (row["score"], row["standard_error"], row["label"]) for key, row in rows_of(folder).items()}


@pytest.mark.parametrize(
    "asked",
    [
        ["fit-laplace", "--draws", 4, "--batch", 1],
        ["train-ensemble", "--members", 3, "--steps", 20, "--batch", 4],
    ],
    ids=["fit-laplace", "train-ensemble"],
)
def test_what_becomes_one_file(tmp_path, asked):
    command, *more = asked
    folder, whole, out = write_classes(tmp_path / "images"), tmp_path / "whole" / "made.safetensors", tmp_path / "out" / "made.safetensors"
    assert run(command, folder, "--out", whole, *more) == 0
    expected = load_file(whole)

    def check():
        for path in out.parent.glob("[!.]*.safetensors"):
            load_file(path)  # raises for half a file
        out.unlink(missing_ok=True)  # of a run that was killed as it ended: what is there would be refused

    def at_end():
        made = load_file(out)
        assert made.keys() == expected.keys() and all(made[name].equal(expected[name]) for name in made)
        assert visible_files(out.parent) == ["made.safetensors"]

    kill_again_and_again([command, folder, "--out", out, *more], check, at_end, out.unlink)
