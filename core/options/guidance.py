"""Uncertainty-guided sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import Enum

from .bounds import bounded, check_fields
from .limits import PERCENT
from .sampling import DrawOptions, StepWindow


class GuidanceMode(str, Enum):
    """How the correction is computed."""

    POSTERIOR = "posterior"  # precision-weighted mix of the M predictions, no derivative
    FORWARD = "forward"  # directional derivative, M more evaluations, no graph
    AUTOGRAD = "autograd"  # exact gradient, one backward pass through M evaluations


class GuidanceUnits(str, Enum):
    """What strength means."""

    RELATIVE = "relative"  # norm of the correction over norm of eps, on the masked pixels
    RAW = "raw"  # the paper's lambda


class GuidancePreset(str, Enum):
    """Where the settings of guidance come from."""

    MEASURED = "measured"  # as given; the defaults were best on the demo model
    PAPER = "paper"  # GuidanceOptions.paper, whatever is given


HALF_STEP_SIZE = 3e-2  # of the directional derivative, where the network computes in float16
COARSE_STEP_SIZE = 1e-1  # where it computes in bfloat16 or less


@dataclass(frozen=True)
class GuidanceOptions:
    """Uncertainty-guided sampling (De Vita & Belagiannis 2024, Alg. 2).

    No other guidance gains clearly more FID on the demo model than the defaults; on a small model of colour photos the defaults raise FID,
    with and without classifier-free guidance (benchmarks/REPORT.md).
    strength: 0 = off. Units RELATIVE: |correction| / |eps| on the masked pixels, of which FORWARD and AUTOGRAD want about five times
    as much as POSTERIOR; RAW: the paper's lambda.
    percentile: only pixels whose U exceeds this percentile of their own image move; 0 = every pixel.
    thresholds: calibrated per-step thresholds instead of the percentile, as (sigma, threshold) pairs.
    orthogonal: keep only the part of the correction orthogonal to eps (the rest merely rescales eps).
    keep_mean: in mode FORWARD, take the spatial mean of each channel out of the direction: the directional derivative has one
    that the exact gradient lacks, and over the steps it adds up to a drift of brightness.
    step_size: h of the directional derivative, as rms per pixel relative to the scale of the sample, sqrt(alpha^2 + sigma^2).
    """

    strength: float = bounded(0.02, -100.0, 100.0, 0.005)
    percentile: float = replace(PERCENT, default=0.0).field()
    draws: DrawOptions = field(default_factory=lambda: DrawOptions(samples=2))
    window: StepWindow = field(default_factory=StepWindow)
    mode: GuidanceMode = GuidanceMode.POSTERIOR
    units: GuidanceUnits = GuidanceUnits.RELATIVE
    thresholds: tuple[tuple[float, float], ...] = ()
    orthogonal: bool = False
    keep_mean: bool = True
    step_size: float = bounded(1e-2, 1e-6, 1.0)
    checkpoint: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        for pair in self.thresholds:
            if len(pair) != 2 or not all(math.isfinite(value) for value in pair):
                raise ValueError(f"thresholds must be pairs of finite numbers (sigma, threshold), got {pair!r}.")

    @classmethod
    def paper(cls, seed: int = 0) -> GuidanceOptions:
        """The paper's setting: top 5 % of pixels, raw lambda = 1, M = 5, every step, exact gradient."""
        draws = DrawOptions(samples=5, seed=seed)
        return cls(strength=1.0, percentile=95.0, draws=draws, mode=GuidanceMode.AUTOGRAD, units=GuidanceUnits.RAW)
