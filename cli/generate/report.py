"""The last lines of the generate command: what was drawn and kept, what it cost, where it is."""

from __future__ import annotations

import logging

from ...core.options import FilterRule
from ..shared.ledger import Ledger
from ..shared.records import tell_unscored
from .drawings import KEPT, REJECTED
from .options import GenerateOptions
from .plans import FixedCount, Plan, UntilAccepted

log = logging.getLogger(__name__)


def report(options: GenerateOptions, plan: Plan, ledger: Ledger, new: int, kept: int) -> None:
    count = len(ledger)
    tell_unscored([f"{int(key):06d}.png" for key in ledger.unscored()], " and rejected")
    if isinstance(plan, UntilAccepted):
        report_until(options, plan, new)
    elif isinstance(plan, FixedCount):
        which = "of each prompt or digit" if options.each else "of all"
        log.info("Drawn: %d. Kept %d of %d, the best %s by %s.", new, kept, count, which, options.method.value)
    if stopped := ledger.skipped():
        saved = sum(each["saved"] for each in stopped.values())
        seconds = sum(each["saved"] * each["seconds"] / each["calls"] for each in stopped.values() if each["calls"])
        told = "Stopped on their way, without a picture: %d, which saved %.0f model calls, about %.3g seconds."
        log.info(told, len(stopped), saved, seconds)
    if count:
        report_cost(options, ledger, kept)
    folders = [name for name, number in ((KEPT, kept), (REJECTED, count - kept)) if number]
    if folders:
        log.info("Look at %s", " and ".join(str(options.out / name) for name in folders))


def report_until(options: GenerateOptions, plan: UntilAccepted, new: int) -> None:
    """Said of what was judged: after enough were accepted, nothing is."""
    run = plan.run
    if run is None:
        return
    asked, where = run.options, f"the score's limit {plan.limit:.4g}"
    if run.calibration is not None and asked.rule is FilterRule.AT_MOST_BAD:
        where += f"; of what reaches it at most {asked.value:g} % are bad, {asked.confidence:g} % sure "
        where += f"from {len(run.calibration.labelled)} labels"
    elif run.calibration is not None:
        where += f", which the best {asked.value:g} % of {len(run.calibration)} earlier images reach"
    log.info("Drawn: %d. Accepted %d of %d judged by %s: %s.", new, run.accepted, run.attempts, options.method.value, where)
    if not run.succeeded:
        log.warning(
            "That is fewer than the %d wanted: all %d attempts are used up. The same command with a larger --max-attempts goes on; "
            "another --value asks for less; the best of the others come first in results.csv.",
            asked.wanted,
            asked.max_attempts,
        )


def report_cost(options: GenerateOptions, ledger: Ledger, kept: int) -> None:
    """In model calls an image, and in all for each that is kept, where more than plain drawing was asked for."""
    count, calls, total, nfe, search = len(ledger), 0.0, 0.0, 0.0, options.search
    for row in ledger.records():
        calls, nfe = calls + (row.get("calls") or 0), row["nfe"]
        total += (row.get("calls") or 0) + nfe
    total += sum(each["calls"] for each in ledger.skipped().values())
    if search.best_of > 1:
        log.info("Drawing the best of %d cost %.4g model calls an image, its score %g.", search.best_of, calls / count, nfe)
    else:
        log.info("The score cost %g model calls an image beside the %d steps of drawing it.", nfe, options.steps)
    if (search.searches or search.until_kept is not None) and kept:
        log.info("All together: %.0f model calls, %.4g for each image kept.", total, total / kept)
