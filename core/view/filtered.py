"""What a page needs to decide as ``decide`` does, before anything is queued."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from ..options import FilterRule
from ..selection.calibration import Calibration

MOST_KNOTS = 1001  # earlier scores that go to the page; of more than that, percentiles at even distances


def describe_filter(
    rule: FilterRule,
    value: float,
    extra_scores: Tensor | None = None,
    extra_weight: float = 0.0,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """rule, value; extra: a number an image, or None; extra_weight; history: scores at even percentiles, ascending, or None."""
    return {
        "rule": rule.value,
        "value": value,
        "extra": None if extra_scores is None else [x if math.isfinite(x) else None for x in extra_scores.tolist()],
        "extra_weight": extra_weight,
        "history": None if calibration is None else history_knots(calibration),
    }


def history_knots(calibration: Calibration) -> list[float]:
    """The scores as they are, or so many of their percentiles that linear interpolation between them is close."""
    if len(calibration) <= MOST_KNOTS:
        return calibration.scores.tolist()
    return np.percentile(calibration.scores.numpy(), np.linspace(0, 100, MOST_KNOTS)).tolist()
