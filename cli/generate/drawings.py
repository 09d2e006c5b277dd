"""Drawn images and their scores as files: one picture each, kept and rejected apart, and JSON to go on from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ...core.files import replacing
from ...core.options import Direction
from ..shared import records
from ..shared.records import Format

FORMAT = Format("uncertainty-nodes drawings", 1, key="images", noun="results", way_out="name another folder with --out")
RESULTS = "results.json"
NEW, KEPT, REJECTED = "new", "kept", "rejected"  # folders
COLUMNS = ("image", "file", "rank", "score", "shown", "nfe", "seconds")


@dataclass(frozen=True)
class Drawing:
    """One drawn image. score: None where not finite. nfe: of the score alone. seconds: its share of its batch's, drawing included."""

    image: int
    shown: str | int
    score: float | None
    nfe: float
    seconds: float

    @property
    def name(self) -> str:
        return f"{self.image:06d}.png"

    def path(self, out: Path) -> Path | None:
        """Where its picture is, if it is."""
        return next((p for folder in (NEW, KEPT, REJECTED) if (p := out / folder / self.name).is_file()), None)


def write_picture(out: Path, drawing: Drawing, image: Tensor) -> None:
    """image: (1 or 3, H, W) in [0, 1]."""
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with replacing(out / NEW / drawing.name) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)).save(temporary, format="PNG")


def load_drawings(out: Path, options: Mapping[str, Any]) -> list[Drawing]:
    """The images of an earlier run with exactly these options whose pictures are there; none where there was no run.

    Raises ValueError for a file of something else or of other options, which is never overwritten.
    """
    drawings, earlier = records.load(out / RESULTS, FORMAT, Drawing)
    other = records.changed(options, earlier)
    if drawings and other:  # a run that failed before its first image leaves nothing to lose
        raise ValueError(f"{str(out)!r} holds images made with other options ({other}); name another folder with --out.")
    return [drawing for drawing in drawings if drawing.path(out)]


def ranked(drawings: Sequence[Drawing], direction: Direction, quantity: str) -> list[tuple[int, Drawing]]:
    """(rank, drawing), 1 = surest, the worst last; what has no score is worst of all."""
    ordered = sorted(drawings, key=lambda drawing: drawing.image)
    ranks = records.ranks([drawing.score for drawing in ordered], direction, quantity)
    return sorted(zip(ranks, ordered, strict=True), key=lambda pair: pair[0])


def best(listed: Sequence[tuple[int, Drawing]], keep: int, each: bool) -> set[int]:
    """The numbers of the ``keep`` surest images; with ``each``, the surest of everything shown, then the second of everything, ..

    What has no score is never kept.
    """
    before: Counter[str | int] = Counter()
    turns = []
    for _, drawing in listed:  # surest first
        turns.append((before[drawing.shown] if each else 0, drawing))
        before[drawing.shown] += 1
    turns.sort(key=lambda turn: turn[0])
    return {drawing.image for _, drawing in turns[:keep] if drawing.score is not None}


def sort_pictures(out: Path, listed: Sequence[tuple[int, Drawing]], kept: Container[int]) -> None:
    """Every picture into its folder: a move, so that a stop loses none."""
    for _, drawing in listed:
        wanted = out / (KEPT if drawing.image in kept else REJECTED) / drawing.name
        found = drawing.path(out)
        if found != wanted:
            wanted.parent.mkdir(parents=True, exist_ok=True)
            os.replace(found, wanted)


def save(out: Path, options: Mapping[str, Any], listed: Sequence[tuple[int, Drawing]], direction: Direction, quantity: str) -> None:
    """results.json and results.csv, each whole or not at all."""
    rows = [asdict(d) | {"rank": rank, "file": place(d, out)} for rank, d in listed]
    said = {
        "options": dict(options),
        "quantity": quantity,
        "direction": direction.value,
        "seconds": round(sum(d.seconds for _, d in listed), 3),
    }
    records.save(out / RESULTS, FORMAT, COLUMNS, rows, said)


def place(drawing: Drawing, out: Path) -> str | None:
    path = drawing.path(out)
    return path.relative_to(out).as_posix() if path else None
