"""Results as files at any time: of a job that runs, was killed, or was made by an older version."""

from __future__ import annotations

import csv
import json
import os

import pytest

from bad_items import run
from uncertainty_nodes.cli.shared.export import write_exports
from uncertainty_nodes.cli.shared.ledger import Ledger
from uncertainty_nodes.cli.shared.records import DRAWINGS, SCORES


def scored(i):
    return {"file": f"{i}.png", "size": 1, "mtime_ns": 1, "score": 7.0 * i % 5, "seconds": 0.5, "nfe": 2.0}


def write_scores(path, count=5):
    """As a run leaves them that was killed before its end."""
    with Ledger.open(path, SCORES, {"by": "noise"}) as ledger:
        ledger.update_header({"quantity": "noise", "direction": "high_is_bad"})
        ledger.append(scored(i) for i in range(count))
    return path


def files_of(path):
    with path.with_suffix(".csv").open() as table:
        return [row["file"] for row in json.loads(path.read_text())["rows"]], [row["file"] for row in csv.DictReader(table)]


def test_what_a_killed_run_kept_becomes_the_files_that_it_would_have_written(tmp_path, caplog):
    caplog.set_level("INFO")
    path = write_scores(tmp_path / "uncertainty.json")
    assert run("export", tmp_path) == 0
    assert f"Results of 5 images: {path} and uncertainty.csv" in caplog.text
    surest = ["0.png", "3.png", "1.png", "4.png", "2.png"]
    assert files_of(path) == (surest, surest)
    exported = path.read_bytes(), path.with_suffix(".csv").read_bytes()
    with Ledger.open(path, SCORES, {"by": "noise"}) as ledger:  # the run at its end
        write_exports(ledger)
    assert (path.read_bytes(), path.with_suffix(".csv").read_bytes()) == exported


def test_a_run_goes_on_meanwhile(tmp_path):
    path = tmp_path / "results.json"
    with Ledger.open(path, DRAWINGS, {}) as ledger:
        ledger.update_header({"quantity": "noise", "direction": "low_is_bad"})
        for i in range(3):
            ledger.append([{"image": i, "score": float(i), "seconds": 0.1}])
            assert run("export", tmp_path) == 0
            assert [row["image"] for row in json.loads(path.read_text())["images"]] == list(range(i, -1, -1))


@pytest.mark.parametrize("named", ["mine.json", "mine.sqlite"])
def test_results_under_another_name(tmp_path, named):
    write_scores(tmp_path / "mine.json")
    assert run("export", tmp_path / named) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv", "mine.json", "mine.sqlite"]


def test_a_folder_of_an_older_version_gets_its_table_and_keeps_all_that_it_says(tmp_path):
    rows = [{**scored(0), "rank": 1}]
    told = {"kind": SCORES.kind, "version": 1, "options": {"by": "noise"}, "quantity": "noise", "direction": "high_is_bad"}
    (tmp_path / "uncertainty.json").write_text(json.dumps({**told, "seconds": 0.5, "skipped": {}, "rows": rows}))
    assert run("export", tmp_path) == 0
    assert json.loads((tmp_path / "uncertainty.json").read_text()) == {**told, "seconds": 0.5, "skipped": {}, "rows": rows}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["uncertainty.csv", "uncertainty.json"]


def test_what_killed_exports_left_is_cleared_away_once_it_is_old(tmp_path):
    path = write_scores(tmp_path / "uncertainty.json")
    old, new = (tmp_path / f".uncertainty.json.{letter * 32}.tmp" for letter in "ab")
    for leftover in (old, new):
        leftover.write_text("half")
    os.utime(old, (0, 0))
    assert run("export", tmp_path) == 0
    assert not old.exists() and new.exists() and path.exists()


def test_bad_folders_are_refused_in_a_sentence(tmp_path, caplog):
    (tmp_path / "empty").mkdir()
    write_scores(tmp_path / "begun" / "uncertainty.json", 0)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "results.json").write_text('{"kind": "a recipe"}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "results.sqlite").write_bytes(b"no database" * 100)
    for name, sentence in (
        ("gone", "There are no results in"),
        ("empty", "give a folder that score or generate has written"),
        ("begun", "yet: wait for the first batch"),
        ("other", "holds no results of score or generate"),
        ("broken", "is damaged or of another program"),
    ):
        caplog.clear()
        assert run("export", tmp_path / name) == 1
        assert sentence in caplog.text
    assert not list(tmp_path.rglob("*.csv"))
