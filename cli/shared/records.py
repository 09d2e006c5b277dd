"""What the commands that judge images share: JSON to go on from, the same as a table, and the ranks in both."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch

from ...core.files import replacing
from ...core.options import Direction
from ...core.view.summary import summarize_scores
from .text import read_text

log = logging.getLogger(__name__)
Record = TypeVar("Record")
SAVING_SHARE = 0.05  # of the time may go into saving results: a file of 60,000 rows takes a while to write
MAX_NAMES = 10  # in one sentence


@dataclass(frozen=True)
class Format:
    """One command's file. key: where it holds the records. noun: what they are called. way_out: where to write instead."""

    kind: str
    version: int
    key: str
    noun: str
    way_out: str


def load_records(path: Path, form: Format, record: type[Record], options: Mapping[str, Any]) -> tuple[list[Record], dict[str, Any]]:
    """The records of an earlier run with exactly these options, and what else its file holds; nothing where there is no file.

    Raises ValueError for a file of something else or of other options, which is never overwritten.
    """
    if not path.exists():
        return [], {}
    try:
        content = json.loads(read_text(path))
        if (content["kind"], content["version"]) != (form.kind, form.version):
            raise ValueError("another kind or version")
        earlier, names = dict(content["options"]), [f.name for f in fields(record)]  # type: ignore[arg-type]
        records = [record(**{name: row[name] for name in names if name in row}) for row in content[form.key]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} holds no {form.noun} of this command ({error}); {form.way_out}.") from error
    other = ", ".join(sorted(name for name in options.keys() | earlier.keys() if options.get(name) != earlier.get(name)))
    if records and other:  # a run that failed before its first result leaves nothing to lose
        raise ValueError(f"{str(path)!r} holds {form.noun} made with other options ({other}); {form.way_out}, or delete it.")
    return records, {} if other else content


def save_records(path: Path, form: Format, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], header: Mapping[str, Any]) -> None:
    """The JSON, and its rows as .csv beside it, each whole or not at all. header: what the JSON holds beside kind, version and rows."""
    content = {"kind": form.kind, "version": form.version, **header, form.key: rows}
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    for name, text in ((path.with_suffix(".csv"), table.getvalue()), (path, json.dumps(content, indent=1, allow_nan=False))):
        with replacing(name) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def rank_scores(scores: Sequence[float | None], direction: Direction, quantity: str) -> list[int]:
    """1 = surest, the worst last; what has no score is worst of all."""
    values = torch.tensor([math.nan if score is None else score for score in scores], dtype=torch.float64)
    return summarize_scores(values, direction, quantity)["ranks"]


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def tell_unscored(names: Sequence[str], consequence: str) -> None:
    """One sentence about images whose values are not finite."""
    if names:
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        log.warning("Not finite, so without a score%s: %s%s.", consequence, ", ".join(names[:MAX_NAMES]), more)


@dataclass
class SavingPace:
    """When results are saved again: as often as it costs little."""

    saved_at: float = 0.0
    cost: float = 0.0

    @contextmanager
    def saving(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.saved_at = time.perf_counter()
        self.cost = self.saved_at - start

    @property
    def due(self) -> bool:
        return SAVING_SHARE * (time.perf_counter() - self.saved_at) >= self.cost
