"""When to act: a window over the noise schedule, counted once for the whole pack."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .options import StepWindow, limits

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

        A tolerance of 1e-5, relative to each edge by itself (ComfyUI's first edge is 1e9), keeps a step that sits on an edge inside.
        sigma = 0 is never active: no noise is left to draw.
        """
        inside = self.sigma_end * (1 - 1e-5) <= sigma <= self.sigma_start * (1 + 1e-5)
        return sigma > 0 and inside and active_before % self.every == 0

    def reaching(self, sigmas: Iterable[float]) -> SigmaWindow:
        """This window where a step of a run lies in it; else the one step nearest to it, so that a run of few steps is measured too.

        sigmas: noise levels of the run's steps, in any order; 0, the end, is no step. Two steps as near as each other: the first of them.
        """
        steps = [float(sigma) for sigma in sigmas if sigma > 0]
        if not steps or any(self.is_active(sigma) for sigma in steps):
            return self
        nearest = min(steps, key=lambda sigma: max(sigma - self.sigma_start, self.sigma_end - sigma))
        return SigmaWindow(nearest, nearest)


def levels(window: StepWindow, count: int, percent_to_sigma: PercentToSigma) -> list[float]:
    """``count`` noise levels, evenly spaced in percent over the window, from noisy to clean; for scoring a finished sample.

    Raises ValueError unless count is a whole number within its limits.
    """
    limits.LEVELS.check("levels", count)
    step = (window.end - window.start) / max(count - 1, 1)
    percents = [window.start + i * step for i in range(count)] if count > 1 else [(window.start + window.end) / 2]
    return [percent_to_sigma(p) for p in percents]


@dataclass
class StepGate:
    """Counts the steps of one run that fall into a window and opens on every k-th of them. Belongs to that run alone."""

    window: SigmaWindow
    count: int = 0

    def opens(self, sigma: float) -> bool:
        """Ask once per sampling step."""
        if not self.window.is_active(sigma):
            return False
        self.count += 1
        return self.window.is_active(sigma, self.count - 1)


@dataclass
class LateStepGate(StepGate):
    """A StepGate that opens on the first step past its window when no step lay in it, for hosts that do not tell the steps beforehand.

    A run of few steps is then measured too, near the window; where the steps are known, ``SigmaWindow.reaching`` finds the nearest.
    """

    def opens(self, sigma: float) -> bool:
        if self.count == 0 and 0 < sigma < self.window.sigma_end:
            self.count += 1
            return True
        return super().opens(sigma)
