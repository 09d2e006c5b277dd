"""The calibrate command: the scores of a run, added to a file of what is usual."""

from __future__ import annotations

import logging
from pathlib import Path

from ...core.selection.calibration import Calibration
from ...core.selection.calibration_text import describe, describe_promise
from ...core.selection.collecting import update
from ..shared.inputs.labels import find_labelled, read_labels
from ..shared.ledger import Ledger
from .options import CalibrateOptions
from .runs import RunScores, read_run

log = logging.getLogger(__name__)


def run(options: CalibrateOptions) -> Path:
    """Add the scores of a folder to the file; returns its path. Raises FileNotFoundError or ValueError, in a sentence."""
    with Ledger.find(options.folder) as ledger:
        scores = read_run(ledger, options.early).of_kind(options.prompt_kind)
    labels = None if options.labels is None else read_labels(options.labels)
    done: list[str] = []  # told once it is written

    def change(history: Calibration | None) -> Calibration:
        joined, added = add(history, scores, options.limit)
        done.append(f"Images added: {added}. Of {scores.folder} the file holds {joined.collected[scores.name]} now.")
        if labels is None or options.labels is None:
            return joined
        places, bad = find_labelled([image.file for image in scores.images], labels, options.labels)
        done.append(f"Images labelled: {len(places)}.")
        return joined.label(scores.scores[places], bad, {name: values[places] for name, values in scores.further.items()})

    history = update(options.path, change)
    if not scores.made_with:
        log.warning("%s doesn't tell how its scores were made, so that only you know whether they belong with others.", scores.folder)
    for line in (*done, *describe(history), *describe_promise(history, options.bad_share, options.confidence)):
        log.info(line)
    log.info("Calibration: %s", options.path)
    return options.path


def add(history: Calibration | None, run: RunScores, limit: int) -> tuple[Calibration, int]:
    """The history with what is new of a run, and how many images that is."""
    if history is None:
        return run.calibration(run).thin(limit), len(run.images)
    history.check(run.quantity, run.direction, run.made_with)
    new = run.since(history.collected.get(run.name, 0), history)
    return (history.merge(run.calibration(new), limit) if new.images else history), len(new.images)
