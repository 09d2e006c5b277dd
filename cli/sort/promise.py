"""Which images are kept by scores of earlier ones, and which when at most so many of them are to be bad, by what a person said of some."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...core.options import Direction, FilterRule, limits
from ...core.selection.calibration import Calibration
from ...core.selection.filtering import decide
from ...core.selection.settings import HOST, SCORING_SEED, SETTINGS
from ...core.view.notes import Note
from ..shared.inputs.labels import find_labelled, read_labels
from ..shared.pictures import ImageFile
from .options import SortOptions

log = logging.getLogger(__name__)
# What score and generate call it.
OF_COMMANDS = {"steps": "steps", "samples": "samples", "cfg": "guidance_scale", SCORING_SEED: SCORING_SEED}


def keep_by_calibration(path: Path, percent: float, notes: Sequence[Note]) -> int:
    """How many of the images, the surest first, are as good as the best ``percent`` % of the earlier ones; notes: one of each."""
    scores, direction, name = scores_in(notes)
    history = Calibration.load(path)
    decision = decide(scores, direction, FilterRule.CALIBRATED, percent, history, quantity=name, made=settings_in(notes[0].method))
    log.info("The best %g %% of %d earlier images reach %.4g.", percent, len(history), decision.threshold)
    return len(decision.accepted)


def scores_in(notes: Sequence[Note]) -> tuple[Tensor, Direction, str]:
    """Of images that were scored in one way, with the quantity as results in the hosts have it."""
    scores = torch.tensor([math.nan if note.score is None else note.score for note in notes], dtype=torch.float64)
    return scores, notes[0].direction, notes[0].quantity.replace("-", "_")


def settings_in(method: str) -> dict[str, str]:
    """What a note's words tell of how its score was made, by the names that calibrations have for it."""
    told = dict(part.split(": ", 1) for part in method.split("; ") if ": " in part)
    if HOST in told or not told:
        return {name: told[name] for name in SETTINGS if name in told}
    usual = {SCORING_SEED: str(limits.SEED.default)}  # score tells of another, and generate has none
    return usual | {name: told[other] for name, other in OF_COMMANDS.items() if other in told}


def keep_by_promise(options: SortOptions, images: Sequence[ImageFile], notes: Sequence[Note]) -> int:
    """How many of these images, the surest first, may be kept; notes: one of each, scored in one way.

    Raises ValueError, in a sentence, where labels don't allow the promise.
    """
    scores, direction, name = scores_in(notes)
    if options.labels is not None:
        places, bad = find_labelled([image.name for image in images], read_labels(options.labels), options.labels)
        history = Calibration.fit([scores], direction, name).label(scores[places], bad)
        if options.save_calibration is not None:
            history.save(options.save_calibration)
            log.info("Scores and labels, for generate --calibration and ComfyUI's Load Calibration: %s", options.save_calibration)
    else:
        history = Calibration.load(options.calibration or Path())
    share, confidence = options.bad_share, options.sure
    made = settings_in(notes[0].method)
    decision = decide(scores, direction, FilterRule.AT_MOST_BAD, share, history, quantity=name, made=made, confidence=confidence)
    seen = history.risk(share, confidence)
    told = (
        "At most %g %% of the images that pass %.4g are bad, with %g %% confidence: %d of the %d labelled images pass it, %d of them bad."
    )
    log.info(told, share, decision.threshold, confidence, seen.passing, len(history.labelled), seen.bad)
    return len(decision.accepted)
