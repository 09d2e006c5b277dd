"""Progress: a bar on a terminal, a line now and then in a log file, none of the hosts' own bars there."""

from __future__ import annotations

import io
import logging
import sys

import pytest

import tiny_text
from tiny_images import write_pictures
from uncertainty_nodes.cli import main
from uncertainty_nodes.cli.shared import progress
from uncertainty_nodes.cli.shared.progress import progress_bar

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def log_file(monkeypatch):
    """stderr as a file, and our log lines with it, as ``2> log`` makes it."""
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    handler = logging.StreamHandler(file)
    logging.getLogger().addHandler(handler)
    level = logging.getLogger().level
    logging.getLogger().setLevel("INFO")
    yield file
    logging.getLogger().setLevel(level)
    logging.getLogger().removeHandler(handler)


def count_to(number, name="Draw"):
    with progress_bar(name, number, "image") as bar:
        for i in range(number):
            bar.set_postfix(loss=i, refresh=False)
            bar.update(1)


def test_a_log_file_gets_a_line_at_both_ends_however_much_happens(log_file):
    count_to(5000)
    lines = log_file.getvalue().splitlines()
    assert len(lines) == 2 and "\r" not in log_file.getvalue() and "\x1b" not in log_file.getvalue()
    assert lines[0].startswith("Draw: 0 of 5000 (0 %)") and lines[1].startswith("Draw: 5000 of 5000 (100 %)")


def test_a_log_file_gets_a_line_now_and_then(log_file, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    count_to(3)
    assert [line.split(" (")[0] for line in log_file.getvalue().splitlines()][:4] == [f"Draw: {i} of 3" for i in range(4)]


def test_a_run_that_goes_on_says_where_it_is(log_file):
    with progress_bar("Draw", 8, "image", done=6) as bar:
        bar.update(2)
    assert [line.split(" (")[0] for line in log_file.getvalue().splitlines()] == ["Draw: 6 of 8", "Draw: 8 of 8"]


def test_an_error_ends_the_bar_and_is_not_swallowed(log_file):
    with pytest.raises(KeyError), progress_bar("Draw", 8, "image"):
        raise KeyError
    assert not progress.LoggedBar._instances


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    count_to(3)
    assert "\rDraw: 100%|" in terminal.getvalue()


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    root = tmp_path_factory.mktemp("pipeline")
    tiny_text.make("sd", root / "words").save_pretrained(root / "sd")
    return root / "sd"


@pytest.mark.parametrize("command", ["score", "generate", "fit-laplace", "train-ensemble", "demo"])
def test_every_command_writes_few_lines_into_a_log_file(pipeline, tmp_path, log_file, command):
    pictures = write_pictures(tmp_path / "pictures", 8, 16)
    model = ["--model", pipeline, "--prompt", "a", "--batch", 1]
    arguments = {
        "score": [pictures, "--levels", 1, *model],
        "generate": ["-n", 8, "--steps", 4, "--method", "noise", "--out", tmp_path / "out", *model],
        "fit-laplace": [pictures, "--draws", 1, "--out", tmp_path / "fit.safetensors", *model],
        "train-ensemble": [pictures, "--members", 2, "--steps", 30, "--out", tmp_path / "ensemble.safetensors", *model],
        "demo": ["--images", 2, "--steps", 5, "--samples", 2, "--out", tmp_path / "demo"],
    }[command]
    assert main([command, *map(str, arguments)]) == 0
    text = log_file.getvalue()
    assert 2 < len(text.splitlines()) <= 14, text
    assert "\r" not in text and "%|" not in text
