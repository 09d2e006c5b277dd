"""The generate command: draw images, score them while they are drawn, rank them, keep the best, and remember what is done."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ...hosts.diffusers.draw import Drawer, ScoredBy, draw_scored
from ..score.rows import finite
from .drawings import NEW, Drawing, best, load_drawings, ranked, save, sort_pictures, write_picture
from .options import GenerateOptions

log = logging.getLogger(__name__)
WRITING = 0.05  # share of the time that may go into keeping results: a file of 60,000 rows takes a while to write


def run(options: GenerateOptions) -> list[tuple[int, Drawing]]:
    """Draw what is not drawn yet, keeping what is done as it goes; returns rank and drawing of all, the worst last."""
    session = Session(options, options.exact(), [])
    session.drawings = load_drawings(options.out, session.exact)
    done = {drawing.image for drawing in session.drawings}
    todo = [place for place in range(options.images) if place not in done]
    session.keep()  # a place that can't be written to shows now
    if done:
        log.info("Drawn by an earlier run: %d.", len(done))
    if todo:
        try:
            session.draw(todo)
        finally:
            session.keep()
    kept = best(session.listed, options.kept, options.each)
    sort_pictures(options.out, session.listed, kept)
    shutil.rmtree(options.out / NEW, ignore_errors=True)  # empty, but for what an interrupted write left
    session.keep()
    report(options, session.listed, len(todo), len(kept))
    return session.listed


@dataclass
class Session:
    """One run's progress. listed: rank and drawing, the worst last."""

    options: GenerateOptions
    exact: dict[str, Any]
    drawings: list[Drawing]
    listed: list[tuple[int, Drawing]] = field(default_factory=list)
    kept_at: float = 0.0
    keeping: float = 0.0

    def keep(self) -> None:
        o, start = self.options, time.perf_counter()
        self.listed = ranked(self.drawings, o.direction, o.method.value)
        save(o.out, self.exact, self.listed, o.direction, o.method.value)
        self.kept_at = time.perf_counter()
        self.keeping = self.kept_at - start

    def draw(self, todo: Sequence[int]) -> None:
        o = self.options
        drawer, by = o.load(), o.scored_by()
        with logging_redirect_tqdm(), tqdm(total=o.images, initial=o.images - len(todo), desc="Draw", unit="image") as bar:
            for batch in (todo[i : i + o.batch] for i in range(0, len(todo), o.batch)):
                self.drawings += draw_batch(o, drawer, by, batch)
                if WRITING * (time.perf_counter() - self.kept_at) >= self.keeping:
                    self.keep()
                bar.update(len(batch))


def draw_batch(options: GenerateOptions, drawer: Drawer, by: ScoredBy, places: Sequence[int]) -> list[Drawing]:
    """The pictures are written before the results that name them: what is listed is there."""
    start = time.perf_counter()
    try:
        images, uncertainty = draw_scored(drawer, places, options.steps, by)
    except torch.cuda.OutOfMemoryError as error:
        raise ValueError(f"Out of memory with {len(places)} images at once; go on with a smaller --batch.") from error
    seconds, shown = round((time.perf_counter() - start) / len(places), 4), options.shown()
    scores = uncertainty.scores.tolist()
    drawn = [Drawing(p, shown[p % len(shown)], finite(s), round(uncertainty.nfe, 6), seconds) for p, s in zip(places, scores, strict=True)]
    for drawing, image in zip(drawn, images, strict=True):
        write_picture(options.out, drawing, image)
    return drawn


def report(options: GenerateOptions, listed: Sequence[tuple[int, Drawing]], new: int, kept: int) -> None:
    of = "of each prompt or digit" if options.each else "of all"
    log.info("Drawn: %d. Kept %d of %d, the best %s by %s; the others lie beside them.", new, kept, len(listed), of, options.method.value)
    nfe = listed[0][1].nfe
    log.info("The score cost %g model calls an image beside the %d steps of drawing it.", nfe, options.steps)
    log.info("Look at %s", options.out / "kept")
