"""When to act and how to draw; the estimates made from re-noised draws."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .checks import MAX_SEED, check_choice, check_range, check_whole
from .scores import Center, Pooling, Quantity


@dataclass(frozen=True)
class StepWindow:
    """The part of sampling in which something happens.

    start, end: fraction of the model's noise schedule that has passed, 0 = pure noise, 1 = clean; both ends included.
    every: act on every k-th active step only.
    """

    start: float = 0.0
    end: float = 1.0
    every: int = 1

    def __post_init__(self) -> None:
        check_range("start_percent", self.start, 0.0, 1.0)
        check_range("end_percent", self.end, 0.0, 1.0)
        check_whole("every", self.every, 1)
        if self.start > self.end:
            raise ValueError(f"start_percent must not exceed end_percent, got {self.start!r} > {self.end!r}.")


@dataclass(frozen=True)
class DrawOptions:
    """M noise draws per step: count, seed, antithetic pairs (z, -z), and how many draws share one network call."""

    samples: int = 5
    seed: int = 0
    antithetic: bool = False
    micro_batch: int = 1

    def __post_init__(self) -> None:
        check_whole("samples", self.samples, 2, 1024)
        check_whole("seed", self.seed, 0, MAX_SEED)
        check_whole("micro_batch", self.micro_batch, 1)


@dataclass(frozen=True)
class AleatoricOptions:
    """Pixel-wise aleatoric uncertainty (De Vita & Belagiannis 2024, Alg. 1)."""

    draws: DrawOptions = field(default_factory=DrawOptions)
    window: StepWindow = field(default_factory=lambda: StepWindow(0.60, 0.75))
    quantity: Quantity = Quantity.DENOISED
    center: Center = Center.MEAN
    pooling: Pooling = Pooling.MEAN

    def __post_init__(self) -> None:
        check_choice("quantity", self.quantity, Quantity)
        check_choice("center", self.center, Center)
        check_choice("pooling", self.pooling, Pooling)


@dataclass(frozen=True)
class InformationOptions:
    """Prompt information (Kong et al. 2023): M draws at each of ``levels`` noise levels in the window, 2 evaluations a draw.

    location, scale: of the logistic density in log SNR by which levels are placed in the window, dense where the demo model's
    integrand is noisy (a quarter less standard error over the whole range than evenly); scale = inf: evenly.
    Low = the image does not carry its condition. Two pairs of draws a level are the least that leaves a standard error.
    """

    draws: DrawOptions = field(default_factory=lambda: DrawOptions(samples=4, antithetic=True))
    window: StepWindow = field(default_factory=lambda: StepWindow(0.40, 0.60))
    levels: int = 4
    location: float = -1.0
    scale: float = 1.5

    def __post_init__(self) -> None:
        check_whole("levels", self.levels, 1, 1000)
        check_range("location", self.location, -100.0, 100.0)
        if self.scale != math.inf:
            check_range("scale", self.scale, 0.1)
        if self.draws.antithetic and self.draws.samples % 2:
            raise ValueError(f"samples must be even for antithetic draws, which come in pairs, got {self.draws.samples!r}.")
