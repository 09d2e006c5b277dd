"""The score command: judge the images of a folder by a model, rank them, and remember what is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from PIL import Image
from tqdm import tqdm

from ...hosts.diffusers.demo_images import DemoModel
from ...hosts.diffusers.images import ImageModel, load_model, measure
from ...hosts.diffusers.load import loading_bars, pipeline_kind
from ..shared.checks import DEMO
from ..shared.device import check_device, enough_memory
from ..shared.pictures import ImageFile, find_images, in_batches, leave_out, read_picture
from ..shared.progress import on_terminal, progress_bar
from ..shared.records import SavingPace, finite, tell_unscored
from .options import ScoreOptions
from .rows import Row, Skipped, load_rows, save_rows

log = logging.getLogger(__name__)
Readable = tuple[ImageFile, Image.Image]


def run(options: ScoreOptions) -> list[dict[str, Any]]:
    """Score what is not scored yet, saving what is done as it goes; returns all rows, the worst last."""
    check_device(options.device)
    if options.model != DEMO:
        pipeline_kind(options.model)
    images = find_images(options.folder, options.label, options.by_class)
    scoring = Scoring(options, *load_rows(options.path, options.fingerprint(), images))
    done = {row.key for row in scoring.rows}
    todo = [image for image in images if image.key not in done and image.name not in scoring.skipped]
    scoring.save()  # a file that can't be written shows now
    if scoring.rows:
        log.info("Scored by an earlier run: %d of %d.", len(scoring.rows), len(images))
    for name, skipped in scoring.skipped.items():
        leave_out(name, skipped.reason)
    before = len(scoring.rows)
    if todo:
        log.info("To score: %d, at %d model calls each.", len(todo), options.nfe)
        try:
            scoring.score(todo)
        finally:
            scoring.save()
    report(options, scoring, len(scoring.rows) - before)
    return scoring.ranking


@dataclass
class Scoring:
    """One run's progress. skipped: by file. ranking: the rows as saved, the worst last."""

    options: ScoreOptions
    rows: list[Row]
    skipped: dict[str, Skipped]
    ranking: list[dict[str, Any]] = field(default_factory=list)
    resized: bool = False
    pace: SavingPace = field(default_factory=SavingPace)

    def save(self) -> None:
        o = self.options
        with self.pace.saving():
            self.ranking = save_rows(o.path, o.fingerprint(), self.rows, o.direction, o.by.value, self.skipped)

    def score(self, todo: Sequence[ImageFile]) -> None:
        model = None
        with progress_bar("Score", len(todo), "image") as bar:
            for batch in in_batches(self.readable(todo, bar), self.options.batch):
                model = model or load(self.options)  # late: nothing to score needs no model
                self.score_batch(model, batch)
                if self.pace.due:
                    self.save()
                bar.update(len(batch))

    def readable(self, todo: Sequence[ImageFile], bar: tqdm) -> Iterator[Readable]:
        """The images and their pictures; what can't be read is skipped, and leaves no gap in a batch."""
        for image in todo:
            try:
                picture = read_picture(image.path)
            except ValueError as error:
                self.skipped[image.name] = Skipped(image.size, image.mtime_ns, f"is no readable image ({error})")
                leave_out(image.name, self.skipped[image.name].reason)
                bar.update(1)
            else:
                yield image, picture

    def score_batch(self, model: ImageModel, batch: Sequence[Readable]) -> None:
        """Images of one size share their network calls, and nothing else."""
        fitted = [(image, model.fitted(picture)) for image, picture in batch]
        for (image, after), (_, before) in zip(fitted, batch, strict=True):
            if after.size != before.size and not self.resized:
                self.resized = True
                sizes = image.name, before.size, after.size
                log.info("Images of sizes that the model does not take are resized, as %s from %s to %s.", *sizes)
        for _, group in groupby(sorted(fitted, key=size_of), key=size_of):
            images, same_size = zip(*group, strict=True)
            self.rows += score_group(self.options, model, images, same_size)


def size_of(pair: Readable) -> tuple[int, int]:
    return pair[1].size


def score_group(options: ScoreOptions, model: ImageModel, images: Sequence[ImageFile], pictures: Sequence[Image.Image]) -> list[Row]:
    start = time.perf_counter()
    with enough_memory(len(images)):
        result, errors = measure(model, pictures, [image.label for image in images], options.method(), options.levels)
    seconds = round((time.perf_counter() - start) / len(images), 4)
    if note := result.provenance.get("note"):
        log.warning(note)
    standard_errors = [None] * len(images) if errors is None else [finite(error) for error in errors.tolist()]
    return [
        Row(i.name, i.size, i.mtime_ns, i.label, finite(score), error, result.nfe, seconds)
        for i, score, error in zip(images, result.scores.tolist(), standard_errors, strict=True)
    ]


def load(options: ScoreOptions) -> ImageModel:
    if options.model == DEMO:
        return DemoModel(options.device)
    with loading_bars(shown=on_terminal()):
        return load_model(options.model, options.prompt or "", options.negative or "", options.device)


def report(options: ScoreOptions, scoring: Scoring, new: int) -> None:
    ranking = scoring.ranking
    if not ranking:
        raise ValueError(f"None of the images in {str(options.folder)!r} can be read.")
    tell_unscored([row["file"] for row in ranking if row["score"] is None], " and ranked last")
    best, worst = (f"{row['file']} ({score_text(row['score'])})" for row in (ranking[0], ranking[-1]))
    log.info("By %s, %s. Best: %s. Worst: %s.", options.by.value, options.direction.value.replace("_", " "), best, worst)
    done = f"Scored: {new}" if new else "Nothing was left to score"
    log.info("%s; left out: %d. All %d are ranked in %s", done, len(scoring.skipped), len(ranking), options.path)


def score_text(score: float | None) -> str:
    return "not a number" if score is None else f"{score:.4g}"
