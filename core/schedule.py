"""When to act: a window over the noise schedule, counted once for the whole pack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .options import StepWindow

PercentToSigma = Callable[[float], float]


@dataclass(frozen=True)
class SigmaWindow:
    """A StepWindow resolved on one model's schedule: active while sigma_end <= sigma <= sigma_start, every k-th time."""

    sigma_start: float
    sigma_end: float
    every: int = 1

    @classmethod
    def resolve(cls, window: StepWindow, percent_to_sigma: PercentToSigma) -> SigmaWindow:
        """percent_to_sigma: fraction of the schedule passed (0 = noise) -> sigma, non-increasing."""
        return cls(percent_to_sigma(window.start), percent_to_sigma(window.end), window.every)

    def is_active(self, sigma: float, active_before: int = 0) -> bool:
        """True when sigma lies in the window and ``active_before`` earlier in-window steps make this a k-th one.

        A relative tolerance of 1e-5 keeps a step that sits on an edge inside. sigma = 0 is never active: no noise is left to draw.
        """
        slack = 1e-5 * max(abs(self.sigma_start), abs(self.sigma_end))
        return sigma > 0 and self.contains(sigma, slack) and active_before % self.every == 0

    def contains(self, sigma: float, slack: float = 0.0) -> bool:
        return self.sigma_end - slack <= sigma <= self.sigma_start + slack


def levels(window: StepWindow, count: int, percent_to_sigma: PercentToSigma) -> list[float]:
    """``count`` noise levels, evenly spaced in percent over the window, from noisy to clean; for scoring a finished sample.

    Raises ValueError when count < 1.
    """
    if count < 1:
        raise ValueError(f"levels must be at least 1, got {count!r}.")
    step = (window.end - window.start) / max(count - 1, 1)
    percents = [window.start + i * step for i in range(count)] if count > 1 else [(window.start + window.end) / 2]
    return [percent_to_sigma(p) for p in percents]
