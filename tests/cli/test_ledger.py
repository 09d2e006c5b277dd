"""Results as they are kept: whole batches or nothing at any kill, ranked as the core ranks, exported, and carried over from older files."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import sqlite3

import pytest
import torch

from uncertainty_nodes.cli.shared.database import ledger_path
from uncertainty_nodes.cli.shared.export import write_exports
from uncertainty_nodes.cli.shared.ledger import Ledger
from uncertainty_nodes.cli.shared.records import DRAWINGS, SCORES
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.view.summary import summarize_scores

OPTIONS = {"model": "demo", "class": None, "prompts": ["a", "b"], "pair": (1, 2)}
BATCH = 4


def row(i, score=None):
    return {"file": f"{i:04d}.png", "size": i, "mtime_ns": 1, "score": score, "seconds": 0.25, "nfe": 2.0}


def open_scores(folder, options=OPTIONS):
    return Ledger.open(folder / "uncertainty.json", SCORES, options)


def export(folder):
    with Ledger.find(folder) as ledger:
        return json.loads(write_exports(ledger).read_text())


@pytest.mark.parametrize("direction", Direction)
def test_ranks_are_those_of_the_core(tmp_path, direction):
    scores = [0.5, None, -2.0, 0.5, 3.0, None, 0.0, 0.5]
    with open_scores(tmp_path) as ledger:
        ledger.update_header({"direction": direction.value})
        ledger.append(row(i, scores[i]) for i in reversed(range(8)))
        values = torch.tensor([math.nan if score is None else score for score in scores])
        expected = summarize_scores(values, direction, "x")["ranks"]
        ranked = list(ledger.ranked())
        assert {r["file"]: r["rank"] for r in ranked} == {f"{i:04d}.png": expected[i] for i in range(8)}
        assert [r["rank"] for r in ranked] == list(range(1, 9)) and ledger.unscored() == ["0001.png", "0005.png"]
        assert [r["file"] for r in ledger.best_and_worst()] == [ranked[0]["file"], ranked[-1]["file"]]


def test_what_is_exported_is_what_was_kept_surest_first(tmp_path):
    with open_scores(tmp_path) as ledger:
        ledger.update_header({"quantity": "noise", "direction": "high_is_bad"})
        ledger.append(row(i, 1.5 - i) for i in range(2500))  # more than a page
        ledger.skip("x.png", {"size": 1, "mtime_ns": 2, "reason": "is no image"})
    content = export(tmp_path)
    assert (content["kind"], content["version"], content["quantity"], content["seconds"]) == (SCORES.kind, 1, "noise", 625.0)
    assert content["options"] == json.loads(json.dumps(OPTIONS)) and content["skipped"]["x.png"]["reason"] == "is no image"
    assert [r["file"] for r in content["rows"]] == [f"{i:04d}.png" for i in reversed(range(2500))]
    assert content["rows"][0] == {**row(2499, 1.5 - 2499), "rank": 1}
    with (tmp_path / "uncertainty.csv").open() as file:
        assert [(r["file"], int(r["rank"])) for r in csv.DictReader(file)] == [(r["file"], r["rank"]) for r in content["rows"]]


def test_a_rank_is_of_the_moment_and_not_kept(tmp_path):
    with open_scores(tmp_path) as ledger:
        ledger.append(row(i, float(i)) for i in range(3))
        ledger.append(list(ledger.ranked()))
        assert list(ledger.records()) == [row(i, float(i)) for i in range(3)]


def test_rows_may_be_changed_while_they_are_looked_at(tmp_path):
    with open_scores(tmp_path) as ledger:
        ledger.append(row(i, float(i)) for i in range(2500))
        ledger.append({**r, "score": -r["score"]} for r in ledger.ranked())
        ledger.append({**r, "size": 0} for r in ledger.records())
        assert [r["score"] for r in ledger.records()] == [-float(i) for i in range(2500)] and len(ledger) == 2500


def test_a_batch_that_fails_in_its_middle_leaves_nothing(tmp_path):
    with open_scores(tmp_path) as ledger:
        ledger.append([row(0, 1.0)])
        with pytest.raises(ValueError, match="JSON"):
            ledger.append([row(1, 1.0), row(2, math.nan)])
        ledger.append([row(0, 3.0)])
        assert [r["score"] for r in ledger.records()] == [3.0]


def test_other_options_are_refused_unless_there_is_nothing_to_lose(tmp_path):
    open_scores(tmp_path).close()
    with open_scores(tmp_path, {"model": "other"}) as ledger:
        ledger.skip("x.png", {"reason": ""})
    with open_scores(tmp_path) as ledger:
        assert ledger.options == json.loads(json.dumps(OPTIONS)) and not ledger.skipped()
        ledger.append([row(0, 1.0)])
    with pytest.raises(ValueError, match=r"holds scores made with other options \(class, model\); name another file"):
        open_scores(tmp_path, {**OPTIONS, "model": "other", "class": 3})
    with pytest.raises(ValueError, match="holds no images of this command"):
        Ledger.open(tmp_path / "uncertainty.json", DRAWINGS, OPTIONS)
    open_scores(tmp_path).close()


def test_results_of_an_older_version_are_carried_over_and_left_as_they_are_by_readers(tmp_path):
    with open_scores(tmp_path) as ledger:
        ledger.update_header({"quantity": "noise", "direction": "low_is_bad"})
        ledger.append(row(i, float(i)) for i in range(3))
        ledger.skip("x.png", {"size": 1, "mtime_ns": 2, "reason": "is no image"})
        expected = list(ledger.ranked())
        older = write_exports(ledger).read_text()
    ledger_path(ledger.path).unlink()
    with Ledger.find(tmp_path) as ledger:
        assert list(ledger.ranked()) == expected and ledger.skipped().keys() == {"x.png"}
    assert not ledger_path(ledger.path).exists()
    with pytest.raises(ValueError, match="other options"):
        open_scores(tmp_path, {"model": "other"})
    assert not ledger_path(ledger.path).exists()
    with open_scores(tmp_path) as ledger:
        ledger.append([row(3, -1.0)])
        assert [r["file"] for r in ledger.ranked()] == ["0002.png", "0001.png", "0000.png", "0003.png"]
    assert ledger.path.read_text() == older


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\x00" + bytes(300)])
def test_what_is_no_ledger_is_left_alone(tmp_path, content):
    (tmp_path / "uncertainty.sqlite").write_bytes(content)
    for use in (open_scores, Ledger.find):
        with pytest.raises((ValueError, OSError), match="uncertainty.sqlite"):
            use(tmp_path)
    assert (tmp_path / "uncertainty.sqlite").read_bytes() == content
    with pytest.raises(FileNotFoundError, match="There are no results in"):
        Ledger.find(tmp_path / "elsewhere")


def test_others_may_read_while_a_run_writes(tmp_path):
    with open_scores(tmp_path) as writing, Ledger.find(tmp_path) as reading:
        writing.append(row(i, float(i)) for i in range(2000))
        looking = reading.ranked()
        next(looking)
        writing.append(row(i, float(i)) for i in range(2000, 3000))
        assert len(reading) == 3000 and len(list(looking)) == 1999


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_a_second_run_is_told_of_the_first_and_others_may_read(tmp_path):
    with open_scores(tmp_path) as ledger:
        ledger.append([row(0, 1.0)])
        with pytest.raises(
            OSError, match=r"Another run is writing '.*uncertainty.json': wait until it has ended, or name another file with"
        ):
            open_scores(tmp_path)
        with Ledger.find(tmp_path) as reader:
            assert len(reader) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["uncertainty.sqlite"]
    if not (child := os.fork()):
        open_scores(tmp_path)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with open_scores(tmp_path) as ledger:
        assert len(ledger) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_twenty_kills_at_any_moment_lose_nothing_that_was_told_as_done(tmp_path):
    """What a killed run had told as done is there, and batches are whole."""
    generator = torch.Generator().manual_seed(0)
    for moment in range(20):
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            with open_scores(tmp_path) as ledger:
                for start in range(len(ledger), 10**6, BATCH):
                    ledger.append(row(i, float(i)) for i in range(start, start + BATCH))
                    os.write(tell, b".")
            os._exit(0)
        os.close(tell)
        batches = int(torch.randint(1, 12, (), generator=generator))
        for _ in range(batches):
            os.read(told, 1)
        for _ in range(int(torch.randint(0, 20_000, (), generator=generator))):
            pass  # somewhere in the next batch
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        batches += len(os.read(told, 10**6))
        os.close(told)
        with open_scores(tmp_path) as ledger:
            assert ledger.database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            count = len(ledger)
            assert count % BATCH == 0 and count >= batches * BATCH, moment
            assert [r["size"] for r in ledger.records()] == list(range(count))


@pytest.mark.parametrize("left", [0.1, 0.5, 0.9])
def test_a_half_written_transaction_is_undone(tmp_path, left):
    """A kill between two bytes of SQLite's own writing: its journal is there, of the file only a part is."""
    with open_scores(tmp_path / "a") as ledger:
        ledger.append(row(i, float(i)) for i in range(500))
    whole = (tmp_path / "a" / "uncertainty.sqlite").stat().st_size
    database = sqlite3.connect(tmp_path / "a" / "uncertainty.sqlite", isolation_level=None)
    database.execute("PRAGMA cache_size = 1")  # pages go to disk while the transaction is still open
    database.execute("BEGIN IMMEDIATE")
    database.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)", ((f"{i:04d}.png", 0.0, 0.0, "x" * 500) for i in range(3000)))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    database.execute("ROLLBACK")
    database.close()
    torn = tmp_path / "b" / "uncertainty.sqlite"
    assert (tmp_path / "b" / "uncertainty.sqlite-journal").stat().st_size > 0
    assert torn.stat().st_size > whole
    os.truncate(torn, whole + int((torn.stat().st_size - whole) * left))
    with open_scores(tmp_path / "b") as ledger:
        assert [r["score"] for r in ledger.records()] == [float(i) for i in range(500)]
