"""Lists that people keep as CSV, JSON lines or plain text: rows of named words, each with the line that it stands in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..text import read_text

JSON_LINES = (".jsonl", ".ndjson")
Row = tuple[int, dict[str, Any]]  # the number of its line, and what stands in it by name


def read_rows(path: Path, name: str, what: str) -> list[Row]:
    """The rows of a file. name: what a line of plain text or a text in JSON is. what: what the file should hold, in words.

    Raises FileNotFoundError, or ValueError naming the line that can't be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}; name a text file with one {what} a line, a CSV or JSON lines.")
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} can't be read as text ({error}); give a file with one {what} a line.") from error
    if path.suffix.lower() == ".csv":
        rows = read_csv(path, text, name)
    elif path.suffix.lower() in JSON_LINES:
        rows = read_json_lines(path, text, name)
    else:
        rows = [(number, {name: line.strip()}) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not rows:
        raise ValueError(f"There is no {what} in {str(path)!r}; write one a line.")
    return rows


def read_csv(path: Path, text: str, name: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        columns = [column.strip().lower() for column in reader.fieldnames or []]
        reader.fieldnames = columns
        if name not in columns:
            raise ValueError(
                f"The first line of {str(path)!r} must name the columns, one of them {name}, got {', '.join(columns)!r:.100}; "
                "a file without columns is read as plain text under a name that ends in .txt."
            )
        rows = [(reader.line_num, {key: value.strip() for key, value in row.items() if key and value}) for row in reader]
    except csv.Error as error:
        raise ValueError(f"{str(path)!r} is no CSV ({error} in line {reader.line_num}); save it again as one.") from error
    return [(number, row) for number, row in rows if row.get(name)]


def read_json_lines(path: Path, text: str, name: str) -> list[Row]:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"Line {number} of {str(path)!r} is no JSON ({error}); write one object a line.") from error
            row = {name: value} if isinstance(value, str) else value
            if not isinstance(row, Mapping) or not isinstance(row.get(name), str):
                raise ValueError(f'Line {number} of {str(path)!r} has no "{name}"; write an object such as {{"{name}": "…"}}.')
            rows.append((number, dict(row)))
    return rows


def first_of(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    """What stands under the first of these names that is there; None for nothing."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)
