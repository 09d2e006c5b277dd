"""What the commands that judge images share: JSON to go on from, the same as a table, and the ranks in both."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch

from ...core.files import replacing
from ...core.options import Direction
from ...core.view.summary import summarize_scores

Record = TypeVar("Record")


@dataclass(frozen=True)
class Format:
    """One command's file. key: where it holds the records. noun: what they are called. way_out: where to write instead."""

    kind: str
    version: int
    key: str
    noun: str
    way_out: str


def load(path: Path, form: Format, record: type[Record]) -> tuple[list[Record], dict[str, Any]]:
    """The records of an earlier run and its options; none where there is no file. Raises ValueError for a file of something else."""
    if not path.exists():
        return [], {}
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        if (saved["kind"], saved["version"]) != (form.kind, form.version):
            raise ValueError("another kind or version")
        earlier = dict(saved["options"])
        names = [f.name for f in fields(record)]
        return [record(**{name: row[name] for name in names}) for row in saved[form.key]], earlier
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} holds no {form.noun} of this command ({error}); {form.way_out}.") from error


def changed(options: Mapping[str, Any], earlier: Mapping[str, Any]) -> str:
    """The names of the options that differ, as text; empty where none does."""
    return ", ".join(sorted(name for name in options.keys() | earlier.keys() if options.get(name) != earlier.get(name)))


def ranks(scores: Sequence[float | None], direction: Direction, quantity: str) -> list[int]:
    """1 = surest, the worst last; what has no score is worst of all."""
    values = torch.tensor([math.nan if score is None else score for score in scores], dtype=torch.float64)
    return summarize_scores(values, direction, quantity)["ranks"]


def save(path: Path, form: Format, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], said: Mapping[str, Any]) -> None:
    """The JSON, and its rows as .csv beside it, each whole or not at all. said: what the JSON holds beside kind, version and rows."""
    content = {"kind": form.kind, "version": form.version, **said, form.key: rows}
    text = io.StringIO()
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    for name, written in ((path.with_suffix(".csv"), text.getvalue()), (path, json.dumps(content, indent=1, allow_nan=False))):
        with replacing(name) as temporary:
            temporary.write_text(written, encoding="utf-8")
