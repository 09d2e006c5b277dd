"""The scores of a folder's images as a file: JSON to go on from, and the same as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.options import Direction
from ..shared.pictures import ImageFile
from ..shared.records import Format, load_records, rank_scores, save_records

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


@dataclass(frozen=True)
class Skipped:
    """An image that can't be read, and why."""

    size: int
    mtime_ns: int
    reason: str

    def is_of(self, image: ImageFile) -> bool:
        """Whether the file is still the one that could not be read."""
        return (self.size, self.mtime_ns) == (image.size, image.mtime_ns)


def load_rows(path: Path, options: Mapping[str, Any], images: Sequence[ImageFile]) -> tuple[list[Row], dict[str, Skipped]]:
    """What an earlier run with exactly these options found out about these images, unless a file has changed; skipped ones by name.

    Raises what ``load_records`` raises.
    """
    rows, content = load_records(path, FORMAT, Row, options)
    known = {row.key: row for row in rows}
    skipped = {name: Skipped(**value) for name, value in content.get("skipped", {}).items()}
    still = {image.name: skipped[image.name] for image in images if image.name in skipped and skipped[image.name].is_of(image)}
    return [known[image.key] for image in images if image.key in known], still


def rank_rows(rows: Sequence[Row], direction: Direction, quantity: str) -> list[dict[str, Any]]:
    """The rows with their ranks, 1 = surest, the worst last."""
    ranks = rank_scores([row.score for row in rows], direction, quantity)
    return sorted(({**asdict(row), "rank": rank} for row, rank in zip(rows, ranks, strict=True)), key=lambda row: row["rank"])


def save_rows(
    path: Path, options: Mapping[str, Any], rows: Sequence[Row], direction: Direction, quantity: str, skipped: Mapping[str, Skipped]
) -> list[dict[str, Any]]:
    """Write both files, each whole or not at all; returns the rows as ranked."""
    ranking = rank_rows(rows, direction, quantity)
    header = {
        "options": dict(options),
        "quantity": quantity,
        "direction": direction.value,
        "seconds": round(sum(row.seconds for row in rows), 3),
        "skipped": {name: asdict(value) for name, value in skipped.items()},
    }
    save_records(path, FORMAT, COLUMNS, ranking, header)
    return ranking
