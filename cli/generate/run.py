"""The generate command: draw images, score them while they are drawn, rank them, keep the best, and remember what is done."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path

from ..shared.engine import Engine, OneProcess
from ..shared.export import write_exports
from ..shared.ledger import Ledger
from ..shared.maps import remove_unfinished_maps
from ..shared.progress import progress_bar
from ..shared.records import DRAWINGS, MADE_WITH, from_row
from .calibrations import make_copies, with_copies
from .drawings import NEW, RESULTS, Stopped, earlier_drawings, sort_pictures, write_picture
from .models import check_model, fingerprint
from .options import GenerateOptions
from .plans import Plan, make_plan
from .report import report
from .worker import DrawWorker

log = logging.getLogger(__name__)


def run(options: GenerateOptions, engine: Engine | None = None) -> Path:
    """Draw what is not drawn yet, keeping each batch as it is done; returns the path of the results."""
    check_model(options)
    options = with_copies(options)
    make_plan(options)  # what it refuses leaves nothing in the folder
    with Ledger.open(options.out / RESULTS, DRAWINGS, fingerprint(options)) as ledger:
        options = make_copies(options, ledger)
        plan = make_plan(options)
        early = {"early": options.search.early_quantity} if options.search.early_quantity else {}
        ledger.update_header({"quantity": options.method.value, "direction": options.direction.value, **early})
        plan.made_with = ledger.header.get(MADE_WITH, {})
        remove_unfinished_maps(ledger.path)
        for drawing in earlier_drawings(options.out, ledger):
            plan.add(drawing)
        for row in ledger.skipped().values():
            plan.pass_over(from_row(Stopped, row))
        before = len(ledger)
        if before:
            log.info("Drawn by an earlier run: %d.", before)
        try:
            draw(options, plan, ledger, engine or OneProcess())
            kept = plan.choose(ledger.ranked())
            sort_pictures(options.out, ledger, kept, plan.reasons())
            shutil.rmtree(options.out / NEW, ignore_errors=True)  # empty, but for what an interrupted write left
        finally:
            ledger.update_header(plan.details())
            write_exports(ledger)
        report(options, plan, ledger, len(ledger) - before, len(kept))
    return options.out / RESULTS


def draw(options: GenerateOptions, plan: Plan, ledger: Ledger, engine: Engine) -> None:
    """The pictures and maps are written before the results that name them: what is listed is there."""
    batch = 1 if options.search.searches else options.batch  # each image is many; a stop should lose no more than one
    tasks = numbers_to_draw(plan, batch)
    first = next(tasks, None)
    if first is None:
        return
    drawn = len(ledger)
    with progress_bar(plan.verb, plan.total, "image", done=plan.done) as bar:
        for batch_drawn in engine.run(partial(DrawWorker.load, options), chain([first], tasks)):
            pictures = batch_drawn.pictures
            if batch_drawn.made_with and not plan.made_with:
                plan.made_with = batch_drawn.made_with
                ledger.update_header({MADE_WITH: plan.made_with})
            drawings = [write_picture(options.out, *done) for done in pictures if not isinstance(done, Stopped)]
            ledger.append(asdict(drawing) for drawing in drawings)
            for drawing in drawings:
                plan.add(drawing)
            for stopped in (done for done in pictures if isinstance(done, Stopped)):
                ledger.skip(ledger.form.key_of(asdict(stopped)), asdict(stopped))
                plan.pass_over(stopped)
            drawn += len(drawings)
            bar.set_postfix(drawn=drawn)
            bar.update(plan.done - bar.n)


def numbers_to_draw(plan: Plan, batch: int) -> Iterator[Sequence[int] | None]:
    while (numbers := plan.next_numbers(batch)) is None or numbers:
        yield numbers
