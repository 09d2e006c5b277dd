"""The mode ``stop``: which candidates earlier scores call hopeless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from ..options import BestOfOptions, Direction, FilterRule, Scorer, SearchMode, limits
from ..selection.calibration import Calibration
from ..selection.early_stop import EarlyStop
from ..selection.filtering import Decision, decide
from .scoring import DIRECTION_OF_SCORER, Scores

SURE = limits.CONFIDENCE.default / 100  # of the promise that a learned stop keeps


class Stop:
    """What earlier scores at one point say. Raises ValueError where they are of another kind, or too few for what is promised.

    With labels and several scores of the labelled images: a candidate ends when its log odds of being bad are beyond what at most
    100 - ``limit`` percent of the good ones reach (see ``EarlyStop.threshold``). Else: when its score is beyond the ``limit`` percentile.
    settings: how the scores to judge are made; they must not contradict the calibration's.
    """

    def __init__(self, options: BestOfOptions, percent: float, history: Calibration, settings: Mapping[str, str] | None = None) -> None:
        self.quantity, self.direction = quantity_at(options.scorer, percent), DIRECTION_OF_SCORER[options.scorer]
        history.check(self.quantity, self.direction, settings)
        self.options, self.history, self.lost = options, history, 1 - options.limit / 100
        self.learned: EarlyStop | None = history.early_stop()
        if self.learned is not None:
            self.learned.check_promise(self.lost, SURE)

    @property
    def further(self) -> tuple[Scorer, ...]:
        """What it reads beside the search's own scorer."""
        return () if self.learned is None else tuple(Scorer(name) for name in self.learned.names[1:])

    @property
    def limit(self) -> float | None:
        """The score that decides, where it is one score."""
        return self.history.threshold_at(self.options.limit) if self.learned is None else None

    def decide(self, scores: Scores) -> Decision:
        own = scores.by[self.options.scorer]
        if self.learned is None:
            return decide(own, self.direction, FilterRule.CALIBRATED, self.options.limit, self.history, quantity=self.quantity)
        if missing := [s.value for s in self.further if s not in scores.by]:
            raise ValueError(
                f"The early stop has learned from {missing[0]} too, which this run does not tell; sample as when the calibration was made, "
                "or make another."
            )
        odds = self.learned.log_odds(torch.stack([own, *(scores.by[s] for s in self.further)], dim=1))
        decision = decide(odds, Direction.HIGH_IS_BAD, FilterRule.THRESHOLD, self.learned.threshold(self.lost, SURE))
        return replace(decision, reasons=tuple(reason.replace("score", "log odds of a bad image", 1) for reason in decision.reasons))


def stops_of(options: BestOfOptions, histories: Sequence[Calibration], settings: Mapping[str, str] | None = None) -> tuple[Stop, ...]:
    """One for each point. Raises ValueError for another number of calibrations, and what ``Stop`` raises."""
    if len(histories) != len(options.points):
        raise ValueError(f"The mode 'stop' needs a calibration for each point, got {len(histories)} for {len(options.points)} points.")
    return tuple(Stop(options, percent, history, settings) for percent, history in zip(options.points, histories, strict=True))


def quantity_at(scorer: Scorer, percent: float) -> str:
    """The name of a score that was taken at a point, for its calibration: what is usual early is not so late."""
    return f"{scorer.value} at {percent:g}"


def stop_options(history: Calibration, limit: float, seed: int = 0) -> BestOfOptions:
    """One candidate, which ends at the calibration's own point when that says so. Raises ValueError for a calibration of no point."""
    limits.PERCENT.check("limit", limit)
    scorer, _, percent = history.quantity.partition(" at ")
    try:
        point = float(percent)
        return BestOfOptions(1, points=(point,), fractions=(1.0,), mode=SearchMode.STOP, scorer=Scorer(scorer), limit=limit, seed=seed)
    except ValueError:
        raise ValueError(
            f"A calibration for stopping early must hold scores of a point on the way, such as 'information at 0.5', got "
            f"{history.quantity!r}; make it from the output uncertainty of Finish Drafts or compared of Best of N."
        ) from None
