"""How maps are shown."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from .bounds import bounded, check_fields
from .checks import check_range
from .limits import PERCENT


class Colormap(str, Enum):
    """Colours of a heatmap."""

    VIRIDIS = "viridis"
    MAGMA = "magma"
    INFERNO = "inferno"
    TURBO = "turbo"
    GRAY = "gray"


class HeatmapScale(str, Enum):
    """What the two ends of the colours stand for."""

    IMAGE = "image"  # percentiles of each image: shows where, not how much
    BATCH = "batch"  # percentiles of the whole batch: images can be compared
    FIXED = "fixed"  # given values: batches can be compared


@dataclass(frozen=True)
class HeatmapOptions:
    """How a map is shown.

    opacity: 0 = the image alone, 1 = the heatmap alone.
    low, high: what the ends of the colours stand for, as percentiles, or as values of the map (high = bad) with scale FIXED.
    mask_percentile: the mask holds the pixels that are worse than this percentile of their own image; 0 = every pixel.
    """

    colormap: Colormap = Colormap.INFERNO
    opacity: float = bounded(0.6, 0.0, 1.0, 0.05)
    scale: HeatmapScale = HeatmapScale.IMAGE
    low: float = 1.0
    high: float = 99.0
    mask_percentile: float = replace(PERCENT, default=90.0).field()

    def __post_init__(self) -> None:
        check_fields(self)
        ends = (-math.inf, math.inf) if self.scale is HeatmapScale.FIXED else (PERCENT.low, PERCENT.high)
        check_range("low", self.low, *ends)
        check_range("high", self.high, *ends)
        if self.low >= self.high:
            raise ValueError(f"low must be smaller than high, got {self.low!r} and {self.high!r}.")
