"""Which images may be kept when at most so many of them are to be bad: a limit with a promise, from some that a person has looked at."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...core.options import FilterRule
from ...core.selection.calibration import Calibration
from ...core.selection.filtering import decide
from ...core.view.notes import Note
from ..shared.inputs.sources import image_column
from ..shared.inputs.tables import read_rows
from ..shared.pictures import ImageFile
from ..shared.records import MAX_NAMES
from ..shared.text import printable
from .options import SortOptions

log = logging.getLogger(__name__)
WORDS = {"good": False, "bad": True}


def keep_by_promise(options: SortOptions, images: Sequence[ImageFile], notes: Sequence[Note]) -> int:
    """How many of these images, the surest first, may be kept; notes: one of each, scored in one way.

    Raises ValueError, in a sentence, where labels don't allow the promise.
    """
    scores = torch.tensor([math.nan if note.score is None else note.score for note in notes], dtype=torch.float64)
    direction, name = notes[0].direction, notes[0].quantity.replace("-", "_")  # as results in the hosts have it
    if options.labels is not None:
        places, bad = find_labelled(images, read_labels(options.labels), options.labels)
        history = Calibration.fit([scores], direction, name).label(scores[places], bad)
        if options.save_calibration is not None:
            history.save(options.save_calibration)
            log.info("Scores and labels, for generate --calibration and ComfyUI's Load Calibration: %s", options.save_calibration)
    else:
        history = Calibration.load(options.calibration or Path())
    share, confidence = options.bad_share, options.sure
    decision = decide(scores, direction, FilterRule.AT_MOST_BAD, share, history, quantity=name, confidence=confidence)
    seen = history.risk(share, confidence)
    told = (
        "At most %g %% of the images that pass %.4g are bad, with %g %% confidence: %d of the %d labelled images pass it, %d of them bad."
    )
    log.info(told, share, decision.threshold, confidence, seen.passing, len(history.labelled), seen.bad)
    return len(decision.accepted)


def read_labels(path: Path) -> dict[str, bool]:
    """Whether an image is bad, by its name. Raises FileNotFoundError, or ValueError naming the line that can't be read."""
    column, labels = image_column(path), {}
    for number, row in read_rows(path, column, "labelled image"):
        word = str(row.get("label", "")).strip().lower()
        if word not in WORDS:
            raise ValueError(f"Line {number} of {str(path)!r} must say good or bad under label, got {printable(word)!r:.40}.")
        labels[row[column]] = WORDS[word]
    return labels


def find_labelled(images: Sequence[ImageFile], labels: Mapping[str, bool], path: Path) -> tuple[Tensor, Tensor]:
    """Numbers of the images that have labels, and whether they are bad. An image is found by its path in the folder, or its file's name
    where no other has it, since a move changes the path. What is not found is told.
    """
    names = {image.name: number for number, image in enumerate(images)}
    counts = Counter(image.path.name for image in images)
    names = {image.path.name: number for number, image in enumerate(images) if counts[image.path.name] == 1} | names
    places = {name: names.get(name, names.get(Path(name).name)) for name in labels}
    if missing := [printable(name) for name, place in places.items() if place is None]:
        more = f" and {len(missing) - MAX_NAMES} more" if len(missing) > MAX_NAMES else ""
        log.warning("Labelled in %s, but not among the images with scores: %s%s.", path, ", ".join(missing[:MAX_NAMES]), more)
    found = [(place, labels[name]) for name, place in places.items() if place is not None]
    if not found:
        raise ValueError(f"None of the images that {str(path)!r} labels carries a score that counts here; name them as sorted.csv does.")
    numbers, bad = zip(*found, strict=True)
    return torch.tensor(numbers), torch.tensor(bad)
