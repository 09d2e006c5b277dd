"""What is known of each image of a job: a file that grows by a batch at a time, which no stop, at any byte, leaves half written.

SQLite, through the standard library: a batch of results is one transaction, whole or not at all, and its cost does not grow with the
number of results, as that of a JSON written anew would. Its journal is the rollback journal, not the write-ahead log: that needs memory
which all readers share, so that it fails on network folders, and leaves two files more beside this one. ``synchronous = FULL``: what
is told as done outlives a loss of power too. A run is the only writer; others may read meanwhile.

    with Ledger.open(path, DRAWINGS, options) as ledger:    # a command that makes results; path: of its results.json
        ledger.append(rows)                                 # one transaction; a row of an image that is there already takes its place
        ledger.update_header({...})                         # what is told of the whole job
        write_exports(ledger)                               # results.json and results.csv, see export.py

    with Ledger.find(folder) as ledger:                     # any command's results, for those who look at them; also while it runs
        ledger.header["direction"], ledger.options, len(ledger), ledger.skipped()
        for row in ledger.ranked(): row["rank"], row["file"], row["score"]    # surest first

A folder of an older version has results.json only: ``open`` carries it over, ``find`` reads it and writes nothing.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from ...core.files import lock_path, locked, remove_leftovers, unwritable
from ...core.options import Direction
from .database import connect, database_errors, dump, ledger_path, read_header, transaction
from .records import Format, check_options, form_of, kind_in, read_older

NAMES = ("results.json", "uncertainty.json")  # what the commands call their results
PAGE = 1000  # rows that are held at once where all are looked at
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS header (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS images (key TEXT PRIMARY KEY, score REAL, seconds REAL, record TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS skipped (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
)


class Ledger:
    """path: of the JSON that it is exported to; the ledger lies beside it. Made by ``open`` or ``find``."""

    def __init__(self, path: Path, form: Format, database: sqlite3.Connection, alone: ExitStack | None = None) -> None:
        self.path, self.form, self.database, self.alone = path, form, database, alone or ExitStack()

    @classmethod
    def open(cls, path: Path, form: Format, options: Mapping[str, Any]) -> Ledger:
        """For a command that goes on where an earlier run with exactly these options was, or begins.

        Raises ValueError for results of something else or of other options, which are never overwritten; OSError for a folder that
        can't be written, or in which another run is at work.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(unwritable(path, error)) from error
        if not ledger_path(path).exists():
            older = read_older(path, form)  # what is refused leaves no new file
            check_options(older.header.get("options", {}), options, len(older.rows), path, form)
        with ExitStack() as alone:
            try:
                alone.enter_context(locked(path, seconds=0))
            except TimeoutError as error:
                raise OSError(f"Another run is writing {str(path)!r}: wait until it has ended, or {form.way_out}.") from error
            alone.callback(remove, lock_path(path))  # nobody waits for it
            ledger = cls(path, form, connect(path), alone.pop_all())
        try:
            ledger._start(dict(options))
        except BaseException:
            ledger.close()
            raise
        for exported in (path, path.with_suffix(".csv")):
            remove_leftovers(exported)
        return ledger

    @classmethod
    def find(cls, path: Path) -> Ledger:
        """The results in a folder, or of a .json or .sqlite file, of whatever command. Raises FileNotFoundError, ValueError for others."""
        paths = [path / name for name in NAMES] if path.is_dir() else [path.with_suffix(".json")]
        for candidate in paths:
            if ledger_path(candidate).exists():
                database = connect(candidate)
                with database_errors(candidate):
                    header = read_header(database)
                if header or not candidate.exists():
                    return cls(candidate, form_of(header.get("kind"), ledger_path(candidate)), database)
                database.close()
            if candidate.exists():
                ledger = cls(candidate, form_of(kind_in(candidate), candidate), sqlite3.connect(":memory:", isolation_level=None))
                ledger._start(None)
                return ledger
        raise FileNotFoundError(f"There are no results in {str(path)!r}: give a folder that score or generate has written.")

    def _start(self, options: dict[str, Any] | None) -> None:
        """Tables, and what an older version left, all in one transaction. options None: whatever they were."""
        with transaction(self.database, self.path):
            for table in SCHEMA:
                self.database.execute(table)
            earlier = read_header(self.database)
            if not earlier:
                older = read_older(self.path, self.form)
                self._insert(older.rows)
                self._insert_skipped(older.skipped)
                earlier = older.header
            if earlier and (earlier.get("kind"), earlier.get("version")) != (self.form.kind, self.form.version):
                raise ValueError(f"{str(ledger_path(self.path))!r} holds no {self.form.noun} of this command; {self.form.way_out}.")
            if options is not None:
                if not check_options(earlier.get("options", {}), options, len(self), self.path, self.form):
                    self.database.execute("DELETE FROM skipped")
                earlier = {**earlier, "options": options}
            self._set_header({**earlier, "kind": self.form.kind, "version": self.form.version})

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """All of them or none. Raises OSError where there is no space."""
        with transaction(self.database, self.path):
            self._insert(rows)

    def skip(self, key: str, record: Mapping[str, Any]) -> None:
        """An image that can't be used, and why."""
        with transaction(self.database, self.path):
            self._insert_skipped({key: record})

    def forget(self, keys: Iterable[str]) -> None:
        """Images that are there no more, scored or skipped."""
        gone = [(key,) for key in keys]
        with transaction(self.database, self.path):
            for table in ("images", "skipped"):
                self.database.executemany(f"DELETE FROM {table} WHERE key = ?", gone)

    @property
    def header(self) -> dict[str, Any]:
        """kind, version and options, and what else was told of the whole job: quantity, direction, .."""
        return read_header(self.database)

    def update_header(self, values: Mapping[str, Any]) -> None:
        """JSON-ready values by name."""
        with transaction(self.database, self.path):
            self._set_header(values)

    @property
    def options(self) -> dict[str, Any]:
        return self.header["options"]

    def __len__(self) -> int:
        return self.database.execute("SELECT count(*) FROM images").fetchone()[0]

    def seconds(self) -> float:
        return self.database.execute("SELECT total(seconds) FROM images").fetchone()[0]

    def records(self) -> Iterator[dict[str, Any]]:
        """In the order of their keys."""
        after = ""
        while page := self.database.execute("SELECT key, record FROM images WHERE key > ? ORDER BY key LIMIT ?", (after, PAGE)).fetchall():
            yield from (json.loads(record) for _, record in page)  # nothing is left open while the caller works
            after = page[-1][0]

    def ranked(self) -> Iterator[dict[str, Any]]:
        """With their ranks, 1 = surest, the worst last; what has no score is worst of all, and equals go by their keys."""
        table = f"temp.ranking_{uuid.uuid4().hex}"
        # a copy on disk: a reader that takes its time holds up no run, and rows may be changed meanwhile
        self.database.execute(f"CREATE TABLE {table} AS SELECT record FROM images {self._order()}")
        try:
            rank = 0
            while page := self.database.execute(f"SELECT record FROM {table} WHERE rowid > ? LIMIT ?", (rank, PAGE)).fetchall():
                for rank, (record,) in enumerate(page, start=rank + 1):  # noqa: B020
                    yield json.loads(record) | {"rank": rank}
        finally:
            self.database.execute(f"DROP TABLE IF EXISTS {table}")

    def best_and_worst(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """None where there is no image."""
        orders = self._order(), self._order("DESC")
        best, worst = (self.database.execute(f"SELECT record FROM images {order} LIMIT 1").fetchone() for order in orders)
        return (json.loads(best[0]), json.loads(worst[0])) if best else None

    def unscored(self) -> list[str]:
        """Keys of the images whose values are not finite."""
        return [key for (key,) in self.database.execute("SELECT key FROM images WHERE score IS NULL ORDER BY key")]

    def skipped(self) -> dict[str, dict[str, Any]]:
        return {key: json.loads(record) for key, record in self.database.execute("SELECT key, record FROM skipped ORDER BY key")}

    def _order(self, way: str = "ASC") -> str:
        worse = "score" if self.header.get("direction") == Direction.HIGH_IS_BAD.value else "-score"
        return f"ORDER BY score IS NULL {way}, {worse} {way}, key {way}"

    def _insert(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """A rank isn't kept with a row: it is of its place among all, and other rows change it."""
        known = ({name: value for name, value in row.items() if name != "rank"} for row in rows)
        values = ((self.form.key_of(row), row["score"], row.get("seconds"), dump(row)) for row in known)
        self.database.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)", values)

    def _insert_skipped(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        values = ((key, dump(record)) for key, record in records.items())
        self.database.executemany("INSERT OR REPLACE INTO skipped VALUES (?, ?)", values)

    def _set_header(self, values: Mapping[str, Any]) -> None:
        rows = [(name, json.dumps(value, allow_nan=False)) for name, value in values.items()]
        self.database.executemany("INSERT OR REPLACE INTO header VALUES (?, ?)", rows)

    def close(self) -> None:
        self.database.close()
        self.alone.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def remove(path: Path) -> None:
    with suppress(OSError):  # Windows removes no open file
        path.unlink()
