"""What guidance costs, in model calls, before it runs: one rule, from where in the schedule the evaluations of a sampler lie.

web/js/guidance/price.js has the same rule for the page; tests/web/test_price.py holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..options import GuidanceMode, GuidanceOptions
from ..schedule import PercentToSigma, SigmaWindow

HALVINGS = 24  # of [0, 1]: finer than any widget can be set


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a sampler. It is guided by a window with start <= latest_start and end >= earliest_end.

    plain: network passes per image behind it (2 under classifier-free guidance); drawn: behind one draw at its noise level, 0 where
    nothing can be guided.
    """

    latest_start: float
    earliest_end: float
    plain: int = 1
    drawn: int = 1

    @classmethod
    def at(cls, sigma: float, percent_to_sigma: PercentToSigma, plain: int = 1, drawn: int = 1) -> Evaluation:
        def active(start: float, end: float) -> bool:
            return SigmaWindow(percent_to_sigma(start), percent_to_sigma(end)).is_active(sigma)

        latest = _turn(lambda start: active(start, 1.0))
        earliest = 1.0 - _turn(lambda rest: active(0.0, 1.0 - rest))
        return cls(latest, earliest, plain, drawn)


@dataclass(frozen=True)
class Price:
    """Model calls per image. plain: of the sampler alone; guiding: those that guidance adds."""

    plain: float
    guiding: float

    @property
    def times(self) -> float:
        return (self.plain + self.guiding) / self.plain if self.plain else 1.0


def draws_per_evaluation(options: GuidanceOptions) -> int:
    """Of one guided evaluation. Mode AUTOGRAD needs a backward pass in addition, which is not counted."""
    return options.draws.samples * (2 if options.mode is GuidanceMode.FORWARD else 1)


def price(evaluations: Sequence[Evaluation], options: GuidanceOptions) -> Price:
    window = options.window
    active = [each.drawn for each in evaluations if window.start <= each.latest_start and window.end >= each.earliest_end]
    draws = draws_per_evaluation(options) if options.strength else 0
    return Price(sum(each.plain for each in evaluations), draws * sum(active))


def _turn(holds: Callable[[float], bool]) -> float:
    """The greatest value of [0, 1] at which it holds, by halving: it holds up to some point and not beyond. 0 where it never does."""
    if holds(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
