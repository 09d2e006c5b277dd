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
    """The history with what is new of a run, and with the labels of any of its images."""
    if history is not None:  # before it is said that all are there
        history.check(run.quantity, run.direction, run.made_with)
    new = run.since(0 if history is None else history.collected.get(run.name, 0), history)
    if history is None or new.images:
        further = run.calibration(new)
        history = further.thin(options.limit) if history is None else history.merge(further, options.limit)
        log.info("Images added: %d.", len(new.images))
    else:
        log.info("All %d images of %s are in the file already.", len(run.images), run.folder)
    return history if options.labels is None else label(history, run, options.labels)


def label(history: Calibration, run: RunScores, labels: Path) -> Calibration:
    places, bad = find_labelled([image.file for image in run.images], read_labels(labels), labels)
    log.info("Images labelled: %d.", len(places))
    return history.label(run.scores[places], bad, {name: values[places] for name, values in run.further.items()})
