"""The generate command: draw images, score them while they are drawn, rank them, keep the best, and remember what is done."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...hosts.diffusers.draw import ScoredBy, draw_scored
from ...hosts.diffusers.search.drawers import CountingDrawer
from ..shared.device import enough_memory
from ..shared.progress import progress_bar
from ..shared.records import SavingPace, finite
from .drawings import NEW, Drawing, Ranking, load_drawings, rank_drawings, save_drawings, sort_pictures, write_picture
from .models import check_model, fingerprint, load_drawer, load_scorer
from .options import GenerateOptions
from .plans import Plan, make_plan
from .report import report

log = logging.getLogger(__name__)


def run(options: GenerateOptions) -> Ranking:
    """Draw what is not drawn yet, saving what is done as it goes; returns rank and drawing of all, the worst last."""
    check_model(options)
    drawing = DrawingRun(options, make_plan(options), fingerprint(options))
    drawing.drawn = {d.image: d for d in load_drawings(options.out, drawing.fingerprint)}
    before = len(drawing.drawn)
    if before:
        log.info("Drawn by an earlier run: %d.", before)
    drawing.save()  # a folder that can't be written to shows now
    try:
        drawing.draw()
    finally:
        drawing.save()
    kept = drawing.plan.choose(drawing.ranking)
    sort_pictures(options.out, drawing.ranking, kept)
    shutil.rmtree(options.out / NEW, ignore_errors=True)  # empty, but for what an interrupted write left
    drawing.save()
    report(options, drawing.plan, drawing.ranking, len(drawing.drawn) - before, len(kept))
    return drawing.ranking


@dataclass
class DrawingRun:
    """One run's progress."""

    options: GenerateOptions
    plan: Plan
    fingerprint: dict[str, Any]
    drawn: dict[int, Drawing] = field(default_factory=dict)
    ranking: Ranking = field(default_factory=list)
    pace: SavingPace = field(default_factory=SavingPace)

    def save(self) -> None:
        o = self.options
        with self.pace.saving():
            self.ranking = rank_drawings(list(self.drawn.values()), o.direction, o.method.value)
            reasons, details = self.plan.reasons(self.drawn), self.plan.details()
            save_drawings(o.out, self.fingerprint, self.ranking, o.direction, o.method.value, reasons, details)

    def draw(self) -> None:
        o, plan = self.options, self.plan
        batch = 1 if o.search.best_of > 1 else o.batch  # each image is many; a stop should lose no more than one
        done, todo = plan.done(self.drawn), plan.next_numbers(self.drawn, batch)
        if not todo:
            return
        drawer, by = load_drawer(o), load_scorer(o)
        with progress_bar(plan.verb, plan.total, "image", done=done) as bar:
            while todo:
                self.drawn |= {drawing.image: drawing for drawing in draw_batch(o, drawer, by, todo)}
                bar.set_postfix(drawn=len(self.drawn))
                bar.update(plan.done(self.drawn) - bar.n)
                if self.pace.due:
                    self.save()
                todo = plan.next_numbers(self.drawn, batch)


def draw_batch(options: GenerateOptions, drawer: CountingDrawer, by: ScoredBy, numbers: Sequence[int]) -> list[Drawing]:
    """The pictures are written before the results that name them: what is listed is there."""
    start = time.perf_counter()
    with enough_memory(len(numbers)):
        images, uncertainty = draw_scored(drawer, numbers, options.steps, by)
    seconds, conditions = round((time.perf_counter() - start) / len(numbers), 4), options.conditions()
    is_finite = images.flatten(1).isfinite().all(dim=1).cpu()  # a VAE may overflow where the latent did not
    scores, nfe = uncertainty.scores.cpu().where(is_finite, math.nan).tolist(), round(uncertainty.nfe, 6)
    drawings = [
        Drawing(n, conditions[n % len(conditions)], finite(score), nfe, seconds, drawer.calls[n], drawer.candidate.get(n))
        for n, score in zip(numbers, scores, strict=True)
    ]
    for drawing, image in zip(drawings, images, strict=True):
        write_picture(options.out, drawing, image)
    return drawings
