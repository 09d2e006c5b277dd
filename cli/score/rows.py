"""The scores of a folder's images as a file: JSON to go on from, and the same as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.options import Direction
from ..shared import records
from ..shared.records import Format

FORMAT = Format("uncertainty-nodes scores", 1, key="rows", noun="scores", way_out="name another file with --out")
COLUMNS = ("file", "rank", "score", "standard_error", "label", "nfe", "seconds")


@dataclass(frozen=True)
class Row:
    """One scored image. score, standard_error: None where not finite or where there is none. seconds: its share of its batch's."""

    file: str
    size: int
    mtime_ns: int
    label: int | None
    score: float | None
    standard_error: float | None
    nfe: float
    seconds: float

    @property
    def key(self) -> tuple[str, int, int]:
        return self.file, self.size, self.mtime_ns


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def load_rows(path: Path, options: Mapping[str, Any]) -> list[Row]:
    """The rows of an earlier run with exactly these options; none where there is no file.

    Raises ValueError for a file of something else or of other options, which is never overwritten.
    """
    rows, earlier = records.load(path, FORMAT, Row)
    other = records.changed(options, earlier)
    if rows and other:  # a run that failed before its first score leaves nothing to lose
        raise ValueError(f"{str(path)!r} holds scores made with other options ({other}); name another file with --out, or delete it.")
    return rows


def ranked(rows: Sequence[Row], direction: Direction, quantity: str) -> list[dict[str, Any]]:
    """The rows with their ranks, 1 = surest, the worst last."""
    ranks = records.ranks([row.score for row in rows], direction, quantity)
    return sorted(({**asdict(row), "rank": rank} for row, rank in zip(rows, ranks, strict=True)), key=lambda row: row["rank"])


def save(
    path: Path, options: Mapping[str, Any], rows: Sequence[Row], direction: Direction, quantity: str, skipped: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Write both files, each whole or not at all; returns the rows as ranked. skipped: why, by file."""
    listed = ranked(rows, direction, quantity)
    said = {
        "options": dict(options),
        "quantity": quantity,
        "direction": direction.value,
        "seconds": round(sum(row.seconds for row in rows), 3),
        "skipped": dict(skipped),
    }
    records.save(path, FORMAT, COLUMNS, listed, said)
    return listed
