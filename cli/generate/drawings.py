"""Drawn images and their scores as files: one picture each, kept and rejected apart, and JSON to go on from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...core.files import replacing
from ...core.options import Direction
from ..shared.records import Format, load_records, rank_scores, save_records

FORMAT = Format("uncertainty-nodes drawings", 1, key="images", noun="images", way_out="name another folder with --out")
RESULTS = "results.json"
NEW, KEPT, REJECTED = "new", "kept", "rejected"  # folders
COLUMNS = ("image", "file", "rank", "score", "shown", "nfe", "calls", "candidate", "seconds", "reason")


@dataclass(frozen=True)
class Drawing:
    """One drawn image. shown: the digit or prompt asked for. score: None where not finite. nfe: of the score alone.

    seconds: its share of its batch's, drawing included.  calls: model calls of drawing it, with those of candidates that it was chosen
    from; candidate: which of them it is.  None: of a run that did not count them, or that drew no candidates.
    """

    image: int
    shown: str | int
    score: float | None
    nfe: float
    seconds: float
    calls: float | None = None
    candidate: int | None = None

    @property
    def name(self) -> str:
        return f"{self.image:06d}.png"

    def path(self, out: Path) -> Path | None:
        """Where its picture is, if it is."""
        return next((p for folder in (NEW, KEPT, REJECTED) if (p := out / folder / self.name).is_file()), None)


Ranking = list[tuple[int, Drawing]]
"""(rank, drawing), 1 = surest, the worst last."""


def write_picture(out: Path, drawing: Drawing, image: Tensor) -> None:
    """image: (1 or 3, H, W) in [0, 1]; what is not a number becomes black."""
    pixels = (torch.nan_to_num(image, nan=0.0).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with replacing(out / NEW / drawing.name) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)).save(temporary, format="PNG")


def load_drawings(out: Path, options: Mapping[str, Any]) -> list[Drawing]:
    """The images of an earlier run whose pictures are there. Raises what ``load_records`` raises."""
    drawings, _ = load_records(out / RESULTS, FORMAT, Drawing, options)
    return [drawing for drawing in drawings if drawing.path(out)]


def rank_drawings(drawings: Sequence[Drawing], direction: Direction, quantity: str) -> Ranking:
    """The worst last; what has no score is worst of all."""
    ordered = sorted(drawings, key=lambda drawing: drawing.image)
    ranks = rank_scores([drawing.score for drawing in ordered], direction, quantity)
    return sorted(zip(ranks, ordered, strict=True), key=lambda pair: pair[0])


def choose_best(ranking: Ranking, keep: int, each: bool) -> set[int]:
    """The numbers of the ``keep`` surest images; with ``each``, the surest of everything shown, then the second of everything, ..

    What has no score is never kept.
    """
    before: Counter[str | int] = Counter()
    turns = []
    for _, drawing in ranking:  # surest first
        if drawing.score is not None:
            turns.append((before[drawing.shown] if each else 0, drawing))
            before[drawing.shown] += 1
    turns.sort(key=lambda turn: turn[0])
    return {drawing.image for _, drawing in turns[:keep]}


def sort_pictures(out: Path, ranking: Ranking, kept: Container[int]) -> None:
    """Every picture into its folder: a move, so that a stop loses none."""
    for _, drawing in ranking:
        target = out / (KEPT if drawing.image in kept else REJECTED) / drawing.name
        source = drawing.path(out)
        if source is not None and source != target:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)


def save_drawings(
    out: Path,
    options: Mapping[str, Any],
    ranking: Ranking,
    direction: Direction,
    quantity: str,
    reasons: Mapping[int, str],
    details: Mapping[str, Any],
) -> None:
    """results.json and results.csv, each whole or not at all. reasons: why an image is kept or not. details: further entries."""
    rows = [asdict(d) | {"rank": rank, "file": relative_path(d, out), "reason": reasons.get(d.image)} for rank, d in ranking]
    header = {
        "options": dict(options),
        "quantity": quantity,
        "direction": direction.value,
        "seconds": round(sum(drawing.seconds for _, drawing in ranking), 3),
        **details,
    }
    save_records(out / RESULTS, FORMAT, COLUMNS, rows, header)


def relative_path(drawing: Drawing, out: Path) -> str | None:
    path = drawing.path(out)
    return path.relative_to(out).as_posix() if path else None
