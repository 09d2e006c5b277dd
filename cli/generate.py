"""The generate command: draw images, score them while they are drawn, rank them, keep the best, and remember what is done."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ..hosts.diffusers_draw import Drawer, ScoredBy, draw_scored
from .drawings import NEW, Drawing, load_drawings, ranked, save, sort_pictures, write_picture
from .generate_options import GenerateOptions
from .scores import finite

log = logging.getLogger(__name__)


def run(options: GenerateOptions) -> list[tuple[int, Drawing]]:
    """Draw what is not drawn yet, keeping what is done as it goes; returns rank and drawing of all, the worst last."""
    exact = options.exact()
    drawings = load_drawings(options.out, exact)
    done = {drawing.image for drawing in drawings}
    todo = [place for place in range(options.images) if place not in done]
    keep_results(options, exact, drawings)  # a place that can't be written to shows now
    if done:
        log.info("Drawn by an earlier run: %d.", len(done))
    if todo:
        drawer, by = options.load(), options.scored_by()
        with logging_redirect_tqdm(), tqdm(total=options.images, initial=options.images - len(todo), desc="Draw", unit="image") as bar:
            for batch in (todo[i : i + options.batch] for i in range(0, len(todo), options.batch)):
                drawings += draw_batch(options, drawer, by, batch)
                keep_results(options, exact, drawings)
                bar.update(len(batch))
    listed = chosen(options, drawings)
    sort_pictures(options.out, listed, options.kept)
    shutil.rmtree(options.out / NEW, ignore_errors=True)  # empty, but for what an interrupted write left
    save(options.out, exact, listed, options.direction, options.method.value)
    report(options, listed, len(todo))
    return listed


def chosen(options: GenerateOptions, drawings: Sequence[Drawing]) -> list[tuple[int, Drawing]]:
    return ranked(drawings, options.direction, options.method.value)


def keep_results(options: GenerateOptions, exact: dict, drawings: Sequence[Drawing]) -> None:
    save(options.out, exact, chosen(options, drawings), options.direction, options.method.value)


def draw_batch(options: GenerateOptions, drawer: Drawer, by: ScoredBy, places: Sequence[int]) -> list[Drawing]:
    """The pictures are written before the results that name them: what is listed is there."""
    start = time.perf_counter()
    try:
        images, uncertainty = draw_scored(drawer, places, options.steps, by)
    except torch.cuda.OutOfMemoryError as error:
        raise ValueError(f"Out of memory with {len(places)} images at once; go on with a smaller --batch.") from error
    seconds, shown = round((time.perf_counter() - start) / len(places), 4), options.shown()
    scores = uncertainty.scores.tolist()
    drawn = [
        Drawing(p, shown[p % len(shown)], finite(s), round(uncertainty.nfe, 6), seconds) for p, s in zip(places, scores, strict=True)
    ]
    for drawing, image in zip(drawn, images, strict=True):
        write_picture(options.out, drawing, image)
    return drawn


def report(options: GenerateOptions, listed: Sequence[tuple[int, Drawing]], new: int) -> None:
    log.info("Drawn: %d. Kept the best %d of %d by %s; the others lie beside them.", new, options.kept, len(listed), options.method.value)
    nfe = listed[0][1].nfe
    log.info("The score cost %g model calls an image beside the %d steps of drawing it.", nfe, options.steps)
    log.info("Look at %s", options.out / "kept")
