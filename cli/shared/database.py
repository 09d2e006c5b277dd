"""SQLite as results are kept in it: where the file lies, transactions, and its errors as sentences."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.files import unwritable

SUFFIX = ".sqlite"
WAIT_SECONDS = 60.0  # for another process that is reading or writing


def ledger_path(path: Path) -> Path:
    """Beside the JSON of this path."""
    return path.with_suffix(SUFFIX)


def connect(path: Path) -> sqlite3.Connection:
    """path: of the JSON."""
    with database_errors(path):
        database = sqlite3.connect(ledger_path(path), timeout=WAIT_SECONDS, isolation_level=None)
        database.execute("PRAGMA synchronous = FULL")
        return database


@contextmanager
def transaction(database: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All that is changed in the block, or nothing of it."""
    with database_errors(path):
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Raises OSError or ValueError, with the way out, for SQLite's own."""
    file = ledger_path(path)
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(unwritable(file, error)) from error
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{str(file)!r} is damaged or of another program ({error}); move it away, the images are whole.") from error


def read_header(database: sqlite3.Connection) -> dict[str, Any]:
    """Nothing of a file that was never begun."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'header'").fetchone():
        return {}
    return {name: json.loads(value) for name, value in database.execute("SELECT name, value FROM header ORDER BY rowid")}


def dump(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False, separators=(",", ":"))
