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
