"""How images are kept or rejected."""

from __future__ import annotations

from enum import Enum


class FilterRule(str, Enum):
    """How Sample Filter decides."""

    DROP_WORST_PERCENT = "drop_worst_percent"
    KEEP_BEST_COUNT = "keep_best_count"
    THRESHOLD = "threshold"
    CALIBRATED = "calibrated"
    AT_MOST_BAD = "at_most_bad"


class FolderScore(str, Enum):
    """What the images of a folder are ranked by."""

    NOTE = "note"  # what is written into the file
    INFORMATION = "information"  # a Scorer, measured by a model
    DENOISED = "denoised"
    NOISE = "noise"


class FolderPlace(str, Enum):
    """Which of ComfyUI's own folders holds the images to rank."""

    OUTPUT = "output"
    INPUT = "input"


class Borderline(str, Enum):
    """What Sample Filter does with images near the line between accepted and rejected."""

    BY_RULE = "by_rule"
    REVIEW = "review"
    SET_ASIDE = "set_aside"


class Unanswered(str, Enum):
    """What becomes of borderline images that nobody has looked at in time."""

    BY_RULE = "by_rule"
    ACCEPT = "accept"
    REJECT = "reject"
    SET_ASIDE = "set_aside"
