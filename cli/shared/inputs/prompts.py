"""Prompts from a file: a line of text each, or rows of CSV or JSON lines with a seed, a size and a negative prompt of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....core.options import Request, parse_size
from .tables import first_of, read_rows

NEGATIVE = ("negative", "negative_prompt")


def read_prompts(path: Path) -> list[Request]:
    """Raises FileNotFoundError, or ValueError naming the line and what is wrong in it."""
    requests = []
    for number, row in read_rows(path, "prompt", "prompt"):
        try:
            requests.append(request_of(row))
        except (TypeError, ValueError) as error:
            raise ValueError(f"Line {number} of {str(path)!r}: {error}") from error
    return requests


def request_of(row: Mapping[str, Any]) -> Request:
    negative, seed = first_of(row, NEGATIVE), first_of(row, ("seed",))
    if negative is not None and not isinstance(negative, str):
        raise ValueError(f"negative must be a text, got {negative!r:.40}.")
    return Request(row["prompt"], negative, None if seed is None else whole("seed", seed), size_of(row))


def size_of(row: Mapping[str, Any]) -> tuple[int, int] | None:
    size, width, height = (first_of(row, (name,)) for name in ("size", "width", "height"))
    if size is not None:
        return parse_size(size if isinstance(size, str) else "x".join(map(str, size)) if isinstance(size, list) else str(size))
    if (width is None) != (height is None):
        raise ValueError("width and height belong together: give both, or size.")
    return None if width is None else (whole("width", width), whole("height", height))


def whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not str(value).strip().isdecimal():
        raise ValueError(f"{name} must be a whole number, got {value!r:.40}.")
    return int(value)
