"""Drawn images and their scores as files: one picture each, kept and rejected apart, and the ledger to go on from."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...core.files import remove_all_leftovers, replacing
from ..shared.ledger import Ledger
from ..shared.maps import write_map
from ..shared.notes import note_of, settings_code, try_note
from ..shared.records import from_row

RESULTS = "results.json"
NEW, KEPT, REJECTED = "new", "kept", "rejected"  # folders


@dataclass(frozen=True)
class Drawing:
    """One drawn image. shown: the digit or prompt asked for. score: None where not finite. nfe: of the score alone.

    seconds: its share of its batch's, drawing included.  calls: model calls of drawing it, with those of candidates that it was chosen
    from; candidate: which of them it is.  None: of a run that did not count them, or that drew no candidates.
    file: where its picture was put last. reason: why it is kept or not, where it isn't the rank alone.
    seed: that it was drawn from, of several candidates that of this one; None: of an older run, or a copy that no seed draws again.
    early: what it scored on its way, by the names of scorers; None where nobody looked.
    """

    image: int
    shown: str | int
    score: float | None
    nfe: float
    seconds: float
    calls: float | None = None
    candidate: int | None = None
    file: str | None = None
    reason: str | None = None
    seed: int | None = None
    early: Mapping[str, float | None] | None = None

    @property
    def name(self) -> str:
        return f"{self.image:06d}.png"

    def found(self, out: Path) -> str | None:
        """Where its picture is, if it is."""
        paths = ([self.file] if self.file else []) + [f"{folder}/{self.name}" for folder in (NEW, KEPT, REJECTED)]
        return next((path for path in paths if (out / path).is_file()), None)


@dataclass(frozen=True)
class Stopped:
    """An image that was left on its way, which has no picture. score: of what it looked like there; calls: made, and saved.

    It stands among the results as one that was skipped, and is not drawn again.
    """

    image: int
    shown: str | int
    seed: int
    score: float | None
    quantity: str
    calls: float
    saved: float
    seconds: float
    reason: str
    early: Mapping[str, float | None] | None = None


def encode_picture(image: Tensor) -> bytes:
    """A PNG. image: (1 or 3, H, W) in [0, 1]; what is not a number becomes black."""
    pixels = (torch.nan_to_num(image, nan=0.0).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)).save(file, format="PNG")
    return file.getvalue()


def write_picture(out: Path, drawing: Drawing, png: bytes, values: np.ndarray | None = None) -> Drawing:
    """The drawing with the place of its picture. values: where it is unsure."""
    write_map(out / RESULTS, Path(drawing.name).stem, values)
    drawing = replace(drawing, file=f"{NEW}/{drawing.name}")
    with replacing(out / NEW / drawing.name) as temporary:
        temporary.write_bytes(png)
    return drawing


def earlier_drawings(out: Path, ledger: Ledger) -> Iterator[Drawing]:
    """The images of an earlier run whose pictures are there; the others are forgotten, to be drawn again."""
    gone, moved = [], []
    for row in ledger.records():
        drawing = from_row(Drawing, row)
        file = drawing.found(out)
        if file is None:
            gone.append(ledger.form.key_of(row))
            continue
        if file != drawing.file:  # a run that was killed while it sorted them
            moved.append({**row, "file": file})
        yield replace(drawing, file=file)
    ledger.forget(gone)
    ledger.append(moved)


def choose_best(ranked: Iterable[Mapping[str, Any]], keep: int, each: bool) -> set[int]:
    """The numbers of the ``keep`` surest images; with ``each``, the surest of everything shown, then the second of everything, ..

    What has no score is never kept.
    """
    before: Counter[str | int] = Counter()
    turns = []
    for row in ranked:  # surest first
        if row["score"] is not None:
            turns.append((before[row["shown"]] if each else 0, row["image"]))
            before[row["shown"]] += 1
    turns.sort(key=lambda turn: turn[0])
    return {image for _, image in turns[:keep]}


def sort_pictures(out: Path, ledger: Ledger, kept: Container[int], reasons: Mapping[int, str]) -> None:
    """Every picture into its folder, with a note of its score in it: a move, so that a stop loses none."""
    header, count, settings = ledger.header, len(ledger), settings_code(ledger.options)
    for folder in (KEPT, REJECTED):
        remove_all_leftovers(out / folder)

    def moved() -> Iterator[dict[str, Any]]:
        for row in ledger.ranked():
            drawing = replace(from_row(Drawing, row), reason=reasons.get(row["image"]))
            target, source = f"{KEPT if drawing.image in kept else REJECTED}/{drawing.name}", drawing.found(out)
            if source is not None:
                told = {"why": drawing.reason} if drawing.reason else {}
                accepted = drawing.image in kept
                try_note(out / source, note_of(row, header, count, ledger.options, settings, accepted=accepted, seed=drawing.seed, **told))
            if source is not None and source != target:
                (out / target).parent.mkdir(parents=True, exist_ok=True)
                os.replace(out / source, out / target)
            drawing = replace(drawing, file=target if source else None)
            if any(name not in row or row[name] != value for name, value in asdict(drawing).items()):  # older rows lack some
                yield {**row, **asdict(drawing)}

    ledger.append(moved())
