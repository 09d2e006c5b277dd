"""The score command: judge the images of a folder by a model, rank them, and remember what is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ...hosts.diffusers.images import ImageModel, measure
from ..shared.pictures import Found, find, read
from .options import DEMO, ScoreOptions
from .rows import Row, finite, load_rows, save

log = logging.getLogger(__name__)
WRITING = 0.05  # share of the time that may go into keeping scores: a file of 60,000 rows takes a while to write


def run(options: ScoreOptions) -> list[dict[str, Any]]:
    """Score what is not scored yet, keeping what is done as it goes; returns all rows, the worst last."""
    found = find(options.folder, options.label, by_class=options.model == DEMO and options.label is None)
    known = {row.key: row for row in load_rows(options.path, options.exact())}
    todo = [image for image in found if image.key not in known]
    scoring = Scoring(options, [known[image.key] for image in found if image.key in known])
    scoring.keep()  # a place that can't be written to shows now
    if scoring.rows:
        log.info("Scored by an earlier run: %d of %d.", len(scoring.rows), len(found))
    if todo:
        log.info("To score: %d, at %d model calls each.", len(todo), options.nfe)
        try:
            scoring.score(todo)
        finally:
            scoring.keep()
    report(options, scoring.listed, len(todo) - len(scoring.skipped), len(scoring.skipped))
    return scoring.listed


@dataclass
class Scoring:
    """One run's progress. skipped: why, by file."""

    options: ScoreOptions
    rows: list[Row]
    skipped: dict[str, str] = field(default_factory=dict)
    listed: list[dict[str, Any]] = field(default_factory=list)
    resized: bool = False
    kept_at: float = 0.0
    keeping: float = 0.0

    def keep(self) -> None:
        o, start = self.options, time.perf_counter()
        self.listed = save(o.path, o.exact(), self.rows, o.direction, o.by.value, self.skipped)
        self.kept_at = time.perf_counter()
        self.keeping = self.kept_at - start

    def score(self, todo: Sequence[Found]) -> None:
        size, model = self.options.batch, None
        with logging_redirect_tqdm(), tqdm(total=len(todo), desc="Score", unit="image") as bar:
            for batch in (todo[i : i + size] for i in range(0, len(todo), size)):
                if pictures := self.readable(batch):
                    model = model or self.options.load()  # late: nothing to score needs no model
                    self.score_batch(model, pictures)
                    if WRITING * (time.perf_counter() - self.kept_at) >= self.keeping:
                        self.keep()
                bar.update(len(batch))

    def readable(self, batch: Sequence[Found]) -> list[tuple[Found, Image.Image]]:
        pictures = []
        for image in batch:
            try:
                pictures.append((image, read(image.path)))
            except ValueError as error:
                self.skipped[image.name] = str(error)
                log.warning("%s is no readable image (%s) and is skipped.", image.name, error)
        return pictures

    def score_batch(self, model: ImageModel, pictures: Sequence[tuple[Found, Image.Image]]) -> None:
        """Images of one size share their network calls, and nothing else."""
        fitted = [(image, model.fitted(picture)) for image, picture in pictures]
        for (image, after), (_, before) in zip(fitted, pictures, strict=True):
            if after.size != before.size and not self.resized:
                self.resized = True
                log.info(
                    "Images of sizes that the model does not take are resized, as %s from %s to %s.", image.name, before.size, after.size
                )
        for _, group in groupby(sorted(fitted, key=size_of), key=size_of):
            images, same_size = zip(*group, strict=True)
            self.rows += score_group(self.options, model, images, same_size)


def size_of(pair: tuple[Found, Image.Image]) -> tuple[int, int]:
    return pair[1].size


def score_group(options: ScoreOptions, model: ImageModel, images: Sequence[Found], pictures: Sequence[Image.Image]) -> list[Row]:
    start = time.perf_counter()
    try:
        result, errors = measure(model, pictures, [image.label for image in images], options.measured(), options.levels)
    except torch.cuda.OutOfMemoryError as error:
        raise ValueError(f"Out of memory with {len(images)} images at once; go on with a smaller --batch.") from error
    seconds = round((time.perf_counter() - start) / len(images), 4)
    if note := result.provenance.get("note"):
        log.warning(note)
    errors = [None] * len(images) if errors is None else [finite(error) for error in errors.tolist()]
    return [
        Row(i.name, i.size, i.mtime_ns, i.label, finite(score), error, result.nfe, seconds)
        for i, score, error in zip(images, result.scores.tolist(), errors, strict=True)
    ]


def report(options: ScoreOptions, listed: Sequence[dict[str, Any]], new: int, skipped: int) -> None:
    if not listed:
        raise ValueError(f"None of the images in {str(options.folder)!r} can be read.")
    best, worst = (
        f"{row['file']} ({'not a number' if row['score'] is None else format(row['score'], '.4g')})" for row in (listed[0], listed[-1])
    )
    log.info("By %s, %s. Best: %s. Worst: %s.", options.by.value, options.direction.value.replace("_", " "), best, worst)
    done = f"Scored: {new}" if new else "Nothing was left to score"
    log.info("%s; skipped: %d. All %d are ranked in %s", done, skipped, len(listed), options.path)
