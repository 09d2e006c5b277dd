"""Where the commands write: score into a folder or a .json file, generate into a folder, and what their last lines say."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tiny_images import write_blank
from uncertainty_nodes.cli import main
from uncertainty_nodes.cli.score.options import ScoreOptions

CHEAP = ["--class", "1", "--samples", "2", "--levels", "1"]


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def told(caplog):
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize(
    ("out", "path"),
    [
        ("scores", "scores/uncertainty.json"),
        ("scores/mine.json", "scores/mine.json"),
        ("there.v2", "there.v2/uncertainty.json"),
        ("there.json", "there.json/uncertainty.json"),
        ("a/b/c", "a/b/c/uncertainty.json"),
    ],
)
def test_scores_are_written_into_a_folder_or_a_json_file(tmp_path, monkeypatch, out, path):
    monkeypatch.chdir(tmp_path)
    for name in ("there.v2", "there.json"):
        (tmp_path / name).mkdir()
    assert ScoreOptions(Path("x"), label=1, out=Path(out)).path == Path(path)
    assert run("score", write_blank(tmp_path / "one"), *CHEAP, "--out", out) == 0
    assert (tmp_path / path).is_file() and (tmp_path / path).with_suffix(".csv").is_file()


@pytest.mark.parametrize("name", ["results.json", "results.csv"])
def test_generate_wants_a_folder_and_says_so(tmp_path, caplog, name):
    assert run("generate", "--out", tmp_path / name) == 1
    assert f"out must be a folder, which gets the pictures and their results, got '{tmp_path / name}'" in caplog.text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("keep", "folders"), [(0, ["rejected"]), (1, ["kept", "rejected"]), (2, ["kept"])])
def test_the_last_line_names_folders_that_are_there(tmp_path, caplog, keep, folders):
    out = tmp_path / "out"
    assert run("generate", "-n", 2, "--keep", keep, "--method", "noise", "--steps", 5, "--samples", 2, "--out", out) == 0
    assert caplog.records[-1].getMessage() == "Look at " + " and ".join(str(out / name) for name in folders)
    assert sorted(path.name for path in out.iterdir() if path.is_dir() and path.name != "maps") == folders


def test_the_help_tells_the_two_apart(capsys):
    for command, words in (("score", "folder, or a file that ends in .json"), ("generate", "folder for the pictures, results.json and")):
        with pytest.raises(SystemExit):
            run(command, "--help")
        assert words in " ".join(capsys.readouterr().out.split())
