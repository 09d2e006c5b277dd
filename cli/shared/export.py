"""The results of a job as files for people and other programs: JSON and a table, row by row, so that memory stays flat."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from ...core.files import replacing
from .ledger import Ledger

FIRST = ("kind", "version", "options", "quantity", "direction")  # of what the JSON tells of the whole job


def write_exports(ledger: Ledger) -> Path:
    """results.json and results.csv beside the ledger, the surest image first, each whole or not at all; returns the JSON's path."""
    with replacing(ledger.path.with_suffix(".csv")) as table, open_text(table) as file:
        writer = csv.DictWriter(file, ledger.form.columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(ledger.ranked())
    with replacing(ledger.path) as whole, open_text(whole) as file:
        write_json(file, summary(ledger), ledger.form.key, ledger.ranked())
    return ledger.path


def open_text(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


def summary(ledger: Ledger) -> dict[str, Any]:
    """What is told of the whole job."""
    header = ledger.header
    first = {name: header.pop(name) for name in FIRST if name in header}
    left_out = ledger.skipped()
    skipped = {"skipped": left_out} if left_out or ledger.form.has_skipped else {}
    return {**first, **header, "seconds": round(ledger.seconds(), 3), **skipped}


def write_json(file: TextIO, told: Mapping[str, Any], key: str, rows: Iterator[Mapping[str, Any]]) -> None:
    """One object: what is told, and under ``key`` the rows, one a line."""
    file.write(json.dumps(told, indent=1, allow_nan=False).removesuffix("\n}") + f',\n "{key}": [')
    separator = "\n  "
    for row in rows:
        file.write(separator + json.dumps(row, allow_nan=False))
        separator = ",\n  "
    file.write("\n ]\n}\n")
