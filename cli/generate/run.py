"""The generate command: draw images, score them while they are drawn, rank them, keep the best, and remember what is done."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...hosts.diffusers.draw import Drawer, ScoredBy, draw_scored
from ..shared.device import enough_memory
from ..shared.pictures import in_batches
from ..shared.progress import progress_bar
from ..shared.records import SavingPace, finite, tell_unscored
from .drawings import (
    KEPT,
    NEW,
    REJECTED,
    Drawing,
    Ranking,
    choose_best,
    load_drawings,
    rank_drawings,
    save_drawings,
    sort_pictures,
    write_picture,
)
from .models import check_model, fingerprint, load_drawer, load_scorer
from .options import GenerateOptions

log = logging.getLogger(__name__)


def run(options: GenerateOptions) -> Ranking:
    """Draw what is not drawn yet, saving what is done as it goes; returns rank and drawing of all, the worst last."""
    check_model(options)
    drawing = DrawingRun(options, fingerprint(options))
    drawing.drawings = load_drawings(options.out, drawing.fingerprint)
    done = {d.image for d in drawing.drawings}
    todo = [number for number in range(options.images) if number not in done]
    drawing.save()  # a folder that can't be written to shows now
    if done:
        log.info("Drawn by an earlier run: %d.", len(done))
    if todo:
        try:
            drawing.draw(todo)
        finally:
            drawing.save()
    kept = choose_best(drawing.ranking, options.keep_count, options.each)
    sort_pictures(options.out, drawing.ranking, kept)
    shutil.rmtree(options.out / NEW, ignore_errors=True)  # empty, but for what an interrupted write left
    drawing.save()
    report(options, drawing.ranking, len(todo), len(kept))
    return drawing.ranking


@dataclass
class DrawingRun:
    """One run's progress."""

    options: GenerateOptions
    fingerprint: dict[str, Any]
    drawings: list[Drawing] = field(default_factory=list)
    ranking: Ranking = field(default_factory=list)
    pace: SavingPace = field(default_factory=SavingPace)

    def save(self) -> None:
        o = self.options
        with self.pace.saving():
            self.ranking = rank_drawings(self.drawings, o.direction, o.method.value)
            save_drawings(o.out, self.fingerprint, self.ranking, o.direction, o.method.value)

    def draw(self, todo: Sequence[int]) -> None:
        o = self.options
        drawer, by = load_drawer(o), load_scorer(o)
        with progress_bar("Draw", o.images, "image", done=o.images - len(todo)) as bar:
            for batch in in_batches(todo, o.batch):
                self.drawings += draw_batch(o, drawer, by, batch)
                if self.pace.due:
                    self.save()
                bar.update(len(batch))


def draw_batch(options: GenerateOptions, drawer: Drawer, by: ScoredBy, numbers: Sequence[int]) -> list[Drawing]:
    """The pictures are written before the results that name them: what is listed is there."""
    start = time.perf_counter()
    with enough_memory(len(numbers)):
        images, uncertainty = draw_scored(drawer, numbers, options.steps, by)
    seconds, conditions = round((time.perf_counter() - start) / len(numbers), 4), options.conditions()
    is_finite = images.flatten(1).isfinite().all(dim=1).cpu()  # a VAE may overflow where the latent did not
    scores, nfe = uncertainty.scores.cpu().where(is_finite, math.nan).tolist(), round(uncertainty.nfe, 6)
    drawings = [Drawing(n, conditions[n % len(conditions)], finite(score), nfe, seconds) for n, score in zip(numbers, scores, strict=True)]
    for drawing, image in zip(drawings, images, strict=True):
        write_picture(options.out, drawing, image)
    return drawings


def report(options: GenerateOptions, ranking: Ranking, new: int, kept: int) -> None:
    tell_unscored([drawing.name for _, drawing in ranking if drawing.score is None], " and rejected")
    which = "of each prompt or digit" if options.each else "of all"
    log.info("Drawn: %d. Kept %d of %d, the best %s by %s.", new, kept, len(ranking), which, options.method.value)
    nfe = ranking[0][1].nfe
    log.info("The score cost %g model calls an image beside the %d steps of drawing it.", nfe, options.steps)
    folders = [name for name, count in ((KEPT, kept), (REJECTED, len(ranking) - kept)) if count]
    log.info("Look at %s", " and ".join(str(options.out / name) for name in folders))
