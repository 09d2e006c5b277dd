"""The calibrate command: the scores of a run, added to a file of what is usual."""

from __future__ import annotations

import logging
from pathlib import Path

from ...core.selection.calibration import Calibration, update
from ...core.selection.calibration_text import describe, describe_promise
from ..shared.inputs.labels import find_labelled, read_labels
from ..shared.ledger import Ledger
from .options import CalibrateOptions
from .runs import RunScores, read_run

log = logging.getLogger(__name__)


def run(options: CalibrateOptions) -> Path:
    """Add the scores of a folder to the file; returns its path. Raises FileNotFoundError or ValueError, in a sentence."""
    with Ledger.find(options.folder) as ledger:
        scores = read_run(ledger, options.early).of_kind(options.prompt_kind)
    history = update(options.path, lambda history: add(history, scores, options))
    for line in (*describe(history), *describe_promise(history, options.bad_share, options.confidence)):
        log.info(line)
    log.info("Calibration: %s", options.path)
    return options.path


def add(history: Calibration | None, run: RunScores, options: CalibrateOptions) -> Calibration:
    """The history with what is new of a run. With labels all of it is given once more: ``merge`` counts no score twice."""
    if history is not None:  # before it is said that all are there
        history.check(run.quantity, run.direction, run.made_with)
    before = 0 if history is None else history.collected.get(run.name, 0)
    total = len(run.images)
    new = run.since(before) if options.labels is None else run
    if history is not None and not new.images:
        log.info("All %d images of %s are in the file already.", total, run.folder)
        return history
    further = new.calibration(total)
    if options.labels is not None:
        places, bad = find_labelled([image.file for image in new.images], read_labels(options.labels), options.labels)
        further = further.label(new.scores[places], bad, {name: values[places] for name, values in new.further.items()})
    log.info("Images added: %d.", total - before)
    return further.thin(options.limit) if history is None else history.merge(further, options.limit)
