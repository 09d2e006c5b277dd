"""The images of a report and what is known of each, from a ledger or from the notes in the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.options import Direction
from ..shared.inputs.sources import find_sources
from ..shared.ledger import Ledger
from ..shared.maps import map_path
from ..shared.records import DRAWINGS
from ..sort.options import SortOptions
from ..sort.run import collect, comparable


@dataclass(frozen=True)
class Shown:
    """One image of the page. path: of its file. map: of what is unsure in it, if there is one. prompt: what it was asked to show."""

    path: Path
    name: str
    score: float | None
    prompt: str
    seed: int | None = None
    why: str = ""
    map: Path | None = None


@dataclass(frozen=True)
class Results:
    """images: the surest first. title: the name of what was scored, without the path to it: pages are sent to others."""

    title: str
    quantity: str
    direction: Direction
    images: list[Shown]


def read_results(folder: Path) -> Results:
    """Raises FileNotFoundError or ValueError, in a sentence, where there are no scores."""
    try:
        ledger = Ledger.find(folder)
    except FileNotFoundError:
        if not folder.is_dir():
            raise
        return read_noted(folder)
    with ledger:
        header = ledger.header
        return Results(name_of(folder), header["quantity"], Direction(header["direction"]), [*rows_shown(ledger, header)])


def rows_shown(ledger: Ledger, header: Mapping[str, Any]) -> Iterator[Shown]:
    """Images that are there no more are left out."""
    base, options = ledger.path.parent, header["options"]
    root = base if ledger.form is DRAWINGS else base / options.get("folder", ".")
    root = root if root.is_dir() else root.parent  # of a list
    for row in ledger.ranked():
        path = root / row["file"] if row["file"] else None
        if path is not None and path.is_file():
            asked = next((row[name] for name in ("shown", "prompt", "label") if row.get(name) is not None), options.get("prompt") or "")
            yield Shown(path, row["file"], row["score"], str(asked), row.get("seed"), row.get("reason") or "", map_of(ledger.path, row))


def map_of(results: Path, row: Mapping[str, Any]) -> Path | None:
    path = map_path(results, f"{row['image']:06d}" if "image" in row else row["file"])
    return path if path.is_file() else None


def read_noted(folder: Path) -> Results:
    images = find_sources(folder)
    scored = comparable(collect(images, SortOptions(folder)), len(images))
    scored.sort(key=lambda s: (s.note.badness, s.image.name))
    first = scored[0].note
    shown = [Shown(s.image.path, s.image.name, s.note.score, "", s.note.seed, s.note.why) for s in scored]
    return Results(name_of(folder), first.quantity, first.direction, shown)


def name_of(folder: Path) -> str:
    return folder.resolve().name or str(folder)
