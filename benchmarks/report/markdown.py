"""Small pieces of Markdown, and figures written as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def number(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """A dash for what was not measured, and no minus before a zero."""
    if value is None:
        return "-"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.replace("-0", "0", 1) if float(text) == 0 and text.startswith("-") else text


def interval(pair: Sequence[float] | None, digits: int = 2) -> str:
    return "-" if pair is None else f"{number(pair[0], digits)} to {number(pair[1], digits)}"


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def picture(text: str, path: str) -> str:
    return f"![{text}]({path})"


def paragraph(text: str) -> str:
    """Lines of source as one line of Markdown; an empty line stays."""
    return "\n\n".join(" ".join(part.split()) for part in text.strip().replace("\r", "").split("\n\n"))
