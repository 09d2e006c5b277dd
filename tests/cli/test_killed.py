"""kill -9 at twenty random moments: no image is lost, doubled or half written, and the end is that of a run that nobody stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

import killed_jobs
from bad_items import IMAGES, run, write_classes
from uncertainty_nodes.cli.shared.ledger import Ledger

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # diffusers' use of numpy
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes"),
]
KILLS = 20
FEWEST = 3  # of them that must meet a run before its end: how many do depends on the machine


def kill_again_and_again(seconds, arguments, check):
    """check() after each kill, while nothing runs. Returns how many runs were killed before their end."""
    command = [sys.executable, killed_jobs.__file__, KILLS, seconds, 0, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as job:
        killed = 0
        for _ in range(KILLS):
            line = job.stdout.readline().strip()
            assert line in ("killed", "ended with 0")
            killed += line == "killed"
            check()
            print(file=job.stdin, flush=True)  # noqa: T201  to the job
        assert job.wait() == 0
    return killed


def rows_of(folder):
    """All that is known of each image but the seconds."""
    with Ledger.find(folder) as ledger:
        return {ledger.form.key_of(row): {k: v for k, v in row.items() if k != "seconds"} for row in ledger.records()}


def growing(folder):
    """A check that what was known once is known still, the same."""
    before = {}

    def check():
        if (folder / "results.sqlite").exists() or (folder / "uncertainty.sqlite").exists():
            now = rows_of(folder)
            assert all(now[key]["score"] == row["score"] for key, row in before.items())
            before.update(now)

    return check


def visible_files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_generate(tmp_path):
    asked = ["-n", 48, "--batch", 2, "--method", "noise", "--steps", 8, "--samples", 2]
    assert run("generate", "--out", tmp_path / "whole", *asked) == 0
    out, grown = tmp_path / "out", growing(tmp_path / "out")

    def check():
        grown()
        for path in out.rglob("[0-9]*.png"):
            Image.open(path).load()  # raises for half a picture
        if (out / "results.sqlite").exists():
            names = [f"{int(key):06d}" for key in rows_of(out)]
            assert all(any((out / folder / f"{name}.png").is_file() for folder in ("new", "kept", "rejected")) for name in names)
            assert all((out / "maps" / f"{name}.npy").is_file() for name in names)
        for path in out.rglob("[0-9]*.npy"):
            np.load(path)

    killed = kill_again_and_again(1.0, ["generate", "--out", out, *asked], check)
    assert killed >= FEWEST and rows_of(out) == rows_of(tmp_path / "whole")
    assert visible_files(out) == visible_files(tmp_path / "whole")
    pictures = [file for file in visible_files(out) if file.endswith(".png")]
    assert all(Image.open(out / file).tobytes() == Image.open(tmp_path / "whole" / file).tobytes() for file in pictures)
    maps = [file for file in visible_files(out) if file.endswith(".npy")]
    assert len(maps) == 48 and all((out / file).read_bytes() == (tmp_path / "whole" / file).read_bytes() for file in maps)


def test_score(tmp_path):
    folder = write_classes(tmp_path / "images")
    for label in range(IMAGES):
        for copy in range(1, 6):
            (folder / str(label) / f"{copy}.png").write_bytes((folder / str(label) / "0.png").read_bytes())
    (folder / "3" / "2.png").write_text("no image")
    asked = [folder, "--batch", 2, "--levels", 2, "--samples", 4, "--maps"]
    assert run("score", *asked, "--out", tmp_path / "whole") == 0
    killed = kill_again_and_again(1.0, ["score", *asked, "--out", tmp_path / "out"], growing(tmp_path / "out"))
    assert killed >= FEWEST and len(rows_of(tmp_path / "out")) == 6 * IMAGES - 1
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
    assert visible_files(tmp_path / "out") == visible_files(tmp_path / "whole")


@pytest.mark.parametrize(
    "asked",
    [
        ["fit-laplace", "--draws", 8, "--batch", 1],
        ["train-ensemble", "--members", 3, "--steps", 60, "--batch", 4],
    ],
    ids=["fit-laplace", "train-ensemble"],
)
def test_what_becomes_one_file(tmp_path, asked):
    command, *more = asked
    folder, whole, out = write_classes(tmp_path / "images"), tmp_path / "whole" / "made.safetensors", tmp_path / "out" / "made.safetensors"
    assert run(command, folder, "--out", whole, *more) == 0

    def check():
        out.unlink(missing_ok=True)  # what is there is refused; each run shall have work
        for path in out.parent.glob("[!.]*.safetensors"):
            load_file(path)  # raises for half a file

    killed = kill_again_and_again(1.5, [command, folder, "--out", out, *more], check)
    made, expected = load_file(out), load_file(whole)
    assert killed >= FEWEST and made.keys() == expected.keys() and all(made[name].equal(expected[name]) for name in made)
    assert visible_files(Path(out.parent)) == ["made.safetensors"]
