"""The last lines of the generate command: what was drawn and kept, what it cost, where it is."""

from __future__ import annotations

import logging

from ..shared.records import tell_unscored
from .drawings import KEPT, REJECTED, Ranking
from .options import GenerateOptions
from .plans import FixedCount, Plan, UntilAccepted

log = logging.getLogger(__name__)


def report(options: GenerateOptions, plan: Plan, ranking: Ranking, new: int, kept: int) -> None:
    tell_unscored([drawing.name for _, drawing in ranking if drawing.score is None], " and rejected")
    if isinstance(plan, UntilAccepted):
        report_until(options, plan, new)
    elif isinstance(plan, FixedCount):
        which = "of each prompt or digit" if options.each else "of all"
        log.info("Drawn: %d. Kept %d of %d, the best %s by %s.", new, kept, len(ranking), which, options.method.value)
    if ranking:
        report_cost(options, ranking, kept)
    folders = [name for name, count in ((KEPT, kept), (REJECTED, len(ranking) - kept)) if count]
    log.info("Look at %s", " and ".join(str(options.out / name) for name in folders))


def report_until(options: GenerateOptions, plan: UntilAccepted, new: int) -> None:
    """Said of what was judged: after enough were accepted, nothing is."""
    run = plan.run
    if run is None:
        return
    asked, where = run.options, f"the score's limit {plan.limit:.4g}"
    if run.calibration is not None:
        where += f", which the best {asked.value:g} % of {len(run.calibration)} earlier scores reach"
    log.info("Drawn: %d. Accepted %d of %d judged by %s: %s.", new, run.accepted, run.attempts, options.method.value, where)
    if not run.succeeded:
        log.warning(
            "That is fewer than the %d wanted: all %d attempts are used up. The same command with a larger --max-attempts goes on; "
            "another --value asks for less; the best of the others come first in results.csv.",
            asked.wanted,
            asked.max_attempts,
        )


def report_cost(options: GenerateOptions, ranking: Ranking, kept: int) -> None:
    """In model calls an image, and in all for each that is kept, where more than plain drawing was asked for."""
    drawings = [drawing for _, drawing in ranking]
    nfe, search = drawings[0].nfe, options.search
    if search.best_of > 1:
        calls = sum(d.calls or 0 for d in drawings) / len(drawings)
        log.info("Drawing the best of %d cost %.4g model calls an image, its score %g.", search.best_of, calls, nfe)
    else:
        log.info("The score cost %g model calls an image beside the %d steps of drawing it.", nfe, options.steps)
    if (search.best_of > 1 or search.until_kept is not None) and kept:
        total = sum((d.calls or 0) + d.nfe for d in drawings)
        log.info("All together: %.0f model calls, %.4g for each image kept.", total, total / kept)
