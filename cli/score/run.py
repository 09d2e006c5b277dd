"""The score command: judge the images of a folder by a model, rank them, and remember what is done."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ...hosts.diffusers.load import pipeline_kind
from ..shared.checks import DEMO
from ..shared.device import check_device
from ..shared.engine import Engine, OneProcess
from ..shared.export import write_exports
from ..shared.inputs.sources import find_sources
from ..shared.ledger import Ledger
from ..shared.maps import map_path, remove_unfinished_maps, write_map
from ..shared.pictures import ImageFile, in_batches, leave_out, read_picture
from ..shared.progress import progress_bar
from ..shared.records import MADE_WITH, SCORES, tell_unscored
from .notes import own_prompts, take_notes, write_notes
from .options import ScoreOptions
from .rows import Skipped, forget_changed
from .worker import Readable, Scored, ScoreWorker

log = logging.getLogger(__name__)


def run(options: ScoreOptions, engine: Engine | None = None) -> Path:
    """Score what is not scored yet, keeping each batch as it is done; returns the path of the results."""
    check_device(options.device)
    if options.model != DEMO:
        pipeline_kind(options.model, options.loading.setup())
    images = find_sources(options.folder, options.label, options.by_class)
    images, without = own_prompts(images) if options.own_prompts else (images, {})
    with Ledger.open(options.path, SCORES, options.fingerprint()) as ledger:
        ledger.update_header({"quantity": options.by.value, "direction": options.direction.value})
        again: set[str] = set()
        before = forget_changed(ledger, images)
        for name, nameless in without.items():
            ledger.skip(name, asdict(nameless))
        if options.resume or options.note:  # a run that was killed while it wrote them goes on by them
            before |= take_notes(options, ledger, [image for image in images if image.name not in before])
        if options.maps:
            remove_unfinished_maps(options.path)
            again = without_map(options, ledger) & before
        todo = [image for image in images if image.name not in before - again]
        count = len(ledger) - len(again)
        if count:
            log.info("Scored by an earlier run: %d of %d.", count, len(images))
        for name, skipped in ledger.skipped().items():
            leave_out(name, skipped["reason"])
        if again:
            log.info("Scored without a map, and now once more: %d.", len(again))
        try:
            if todo:
                log.info("To score: %d, at %d model calls each.", len(todo), options.nfe)
                Scoring(options, ledger).score(todo, engine or OneProcess())
        finally:
            if options.note:
                write_notes(options, ledger, images)
            write_exports(ledger)
        report(options, ledger, len(ledger) - count)
    return options.path


@dataclass
class Scoring:
    """One run's progress. resized: whether it was said that some are."""

    options: ScoreOptions
    ledger: Ledger
    resized: bool = False

    def score(self, todo: Sequence[ImageFile], engine: Engine) -> None:
        with progress_bar("Score", len(todo), "image") as bar:
            batches = in_batches(self.readable(todo, bar), self.options.batch)
            for scored in engine.run(partial(ScoreWorker.load, self.options), batches):
                for row, values in zip(scored.rows, scored.maps, strict=True):
                    write_map(self.options.path, row.file, values)  # before the result: what is listed has its map
                if scored.made_with and MADE_WITH not in self.ledger.header:
                    self.ledger.update_header({MADE_WITH: scored.made_with})
                self.ledger.append(asdict(row) for row in scored.rows)
                self.tell(scored)
                bar.update(len(scored.rows))

    def readable(self, todo: Sequence[ImageFile], bar: tqdm) -> Iterator[Readable]:
        """The images and their pictures; what can't be read is skipped, and leaves no gap in a batch."""
        for image in todo:
            try:
                picture = read_picture(image.path)
            except ValueError as error:
                skipped = Skipped(image.size, image.mtime_ns, f"is no readable image ({error})", image.prompt)
                self.ledger.skip(image.name, asdict(skipped))
                leave_out(image.name, skipped.reason)
                bar.update(1)
            else:
                yield image, picture

    def tell(self, scored: Scored) -> None:
        for note in scored.notes:
            log.warning(note)
        if scored.resized is not None and not self.resized:
            self.resized = True
            log.info("Images of sizes that the model does not take are resized, as %s from %s to %s.", *scored.resized)


def without_map(options: ScoreOptions, ledger: Ledger) -> set[str]:
    """The names of images that an earlier run scored without one."""
    return {row["file"] for row in ledger.records() if not map_path(options.path, row["file"]).is_file()}


def report(options: ScoreOptions, ledger: Ledger, new: int) -> None:
    ends = ledger.best_and_worst()
    if ends is None:
        raise ValueError(f"None of the images in {str(options.folder)!r} can be read.")
    tell_unscored(ledger.unscored(), " and ranked last")
    best, worst = (f"{row['file']} ({score_text(row['score'])})" for row in ends)
    log.info("By %s, %s. Best: %s. Worst: %s.", options.by.value, options.direction.value.replace("_", " "), best, worst)
    done = f"Scored: {new}" if new else "Nothing was left to score"
    log.info("%s; left out: %d. All %d are ranked in %s", done, len(ledger.skipped()), len(ledger), options.path)


def score_text(score: float | None) -> str:
    return "not a number" if score is None else f"{score:.4g}"
