"""When to act and how to draw; the estimates made from re-noised draws."""

from __future__ import annotations

from dataclasses import dataclass, field

from .bounds import bounded, check_fields
from .limits import LEVELS, SEED
from .scores import Center, FreeScore, GapWeight, Pooling, Quantity


@dataclass(frozen=True)
class StepWindow:
    """The part of sampling in which something happens.

    start, end: fraction of the model's noise schedule that has passed, 0 = pure noise, 1 = clean; both ends included.
    every: act on every k-th active step only.
    """

    start: float = bounded(0.0, 0.0, 1.0, 0.01, label="start_percent")
    end: float = bounded(1.0, 0.0, 1.0, 0.01, label="end_percent")
    every: int = bounded(1, 1, 1000)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.start > self.end:
            raise ValueError(f"start_percent must not exceed end_percent, got {self.start!r} > {self.end!r}.")


# Of the scores by pixel: where they told good images of the demo model from bad ones (benchmarks/quality/direction.py).
DEFAULT_WINDOW = StepWindow(0.60, 0.75)

# Of the scores that cost no model call: the same (benchmarks/quality/free_scores.py).
FREE_WINDOWS = {FreeScore.TRAJECTORY: StepWindow(0.50, 1.0), FreeScore.CONDITION_GAP: StepWindow(0.0, 0.35)}


@dataclass(frozen=True)
class DrawOptions:
    """M noise draws per step: count, seed, antithetic pairs (z, -z).

    micro_batch: how many draws share one network call; 0 = as many as the host has memory for.
    """

    samples: int = bounded(5, 2, 1024)
    seed: int = SEED.field()
    antithetic: bool = False
    micro_batch: int = bounded(0, 0, 1024)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class AleatoricOptions:
    """Pixel-wise aleatoric uncertainty (De Vita & Belagiannis 2024, Alg. 1)."""

    draws: DrawOptions = field(default_factory=DrawOptions)
    window: StepWindow = DEFAULT_WINDOW
    quantity: Quantity = Quantity.DENOISED
    center: Center = Center.MEAN
    pooling: Pooling = Pooling.MEAN

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class FreeOptions:
    """Scores that the steps of a sampling give at no model call. window: None stands for the one measured for the score."""

    score: FreeScore = FreeScore.TRAJECTORY
    window: StepWindow | None = None
    weight: GapWeight = GapWeight.NOISE
    pooling: Pooling = Pooling.MEAN

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def steps(self) -> StepWindow:
        """The window, or the score's own."""
        return self.window or FREE_WINDOWS[self.score]


@dataclass(frozen=True)
class InformationOptions:
    """Prompt information (Kong et al. 2023): M draws at each of ``levels`` noise levels in the window, 2 evaluations a draw.

    location, scale: of the logistic density in log SNR by which levels are placed in the window, dense where the demo model's
    integrand is noisy (a quarter less standard error over the whole range than evenly); scale = inf: evenly.
    Low = the image does not carry its condition. Two pairs of draws a level are the least that leaves a standard error.
    """

    draws: DrawOptions = field(default_factory=lambda: DrawOptions(samples=4, antithetic=True))
    window: StepWindow = field(default_factory=lambda: StepWindow(0.40, 0.60))
    levels: int = LEVELS.field()
    location: float = bounded(-1.0, -100.0, 100.0)
    scale: float = bounded(1.5, 0.1, 1e6, infinite=True)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.draws.antithetic and self.draws.samples % 2:
            raise ValueError(f"samples must be even for antithetic draws, which come in pairs, got {self.draws.samples!r}.")
