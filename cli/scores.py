"""The scores of a folder's images as a file: JSON to go on from, and the same as a table."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..core.files import replacing
from ..core.options import Direction
from ..core.summary import summarize_scores

KIND = "uncertainty-nodes scores"
VERSION = 1
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
    if not path.exists():
        return []
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        if (saved["kind"], saved["version"]) != (KIND, VERSION):
            raise ValueError("another kind or version")
        earlier = dict(saved["options"])
        rows = [Row(**{name: row[name] for name in Row.__dataclass_fields__}) for row in saved["rows"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} holds no scores of this command ({error}); name another file with --out.") from error
    other = sorted(name for name in options.keys() | earlier.keys() if options.get(name) != earlier.get(name))
    if rows and other:  # a run that failed before its first score leaves nothing to lose
        raise ValueError(
            f"{str(path)!r} holds scores made with other options ({', '.join(other)}); name another file with --out, or delete it."
        )
    return rows


def ranked(rows: Sequence[Row], direction: Direction, quantity: str) -> list[dict[str, Any]]:
    """The rows with their ranks, 1 = surest, the worst last."""
    scores = torch.tensor([math.nan if row.score is None else row.score for row in rows], dtype=torch.float64)
    ranks = summarize_scores(scores, direction, quantity)["ranks"]
    return sorted(({**asdict(row), "rank": rank} for row, rank in zip(rows, ranks, strict=True)), key=lambda row: row["rank"])


def save(
    path: Path, options: Mapping[str, Any], rows: Sequence[Row], direction: Direction, quantity: str, skipped: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Write both files, each whole or not at all; returns the rows as ranked. skipped: why, by file."""
    listed = ranked(rows, direction, quantity)
    content = {
        "kind": KIND,
        "version": VERSION,
        "options": dict(options),
        "quantity": quantity,
        "direction": direction.value,
        "seconds": round(sum(row.seconds for row in rows), 3),
        "rows": listed,
        "skipped": dict(skipped),
    }
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(listed)
    for name, written in ((path.with_suffix(".csv"), text.getvalue()), (path, json.dumps(content, indent=1, allow_nan=False))):
        with replacing(name) as temporary:
            temporary.write_text(written, encoding="utf-8")
    return listed
