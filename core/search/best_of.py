"""The best of N with early pruning: which candidates go on after each point of the schedule.

A host samples N rows and asks, once a step, ``due(sigma)``. When it is, the host scores the rows that are still there and calls
``select``: only the rows of its answer go on, each from the state of its source. After the last step ``finish`` names the rows to keep.
Nothing here touches a model or a random state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..draws import step_generator
from ..options import BestOfOptions, Direction, FilterRule, Scorer, SearchMode
from ..schedule import PercentToSigma
from ..selection.calibration import Calibration
from ..selection.filtering import Decision, decide
from ..selection.ranks import best_first
from .resampling import place_copies, systematic_counts, weigh
from .scoring import DIRECTION_OF_SCORER, Scores
from .stopping import stops_of

TOLERANCE = 1e-5  # a step that sits on a point is inside, as in core.schedule


@dataclass(frozen=True, eq=False)
class Round:
    """One comparison. percent: the last point that it stands for, 1 at the end. compared: rows, in order; scores: (B,) of those, by scorer.

    rows, sources: row ``rows[k]`` goes on from the state of row ``sources[k]``; without resampling the two are equal.
    reasons: one sentence for each row compared.
    """

    percent: float
    sigma: float
    compared: tuple[int, ...]
    scores: Mapping[Scorer, Tensor]
    rows: tuple[int, ...]
    sources: tuple[int, ...]
    reasons: tuple[str, ...]


class Search:
    """The state of one run. rows: what is still sampled.  lineage: candidate -> the candidate that its present state comes from.

    calibrations: for the mode ``stop``, earlier scores at each point, of the quantity ``quantity_at`` names.
    settings: how this run makes its scores, which must not contradict them.
    network_rows: passes of plain sampling, which the host counts here; scoring_rows: passes of the comparisons.
    Raises ValueError when the mode is ``stop`` and calibrations do not fit.
    """

    def __init__(
        self,
        options: BestOfOptions,
        percent_to_sigma: PercentToSigma,
        calibrations: Sequence[Calibration] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.options, self.calibrations, self.settings = options, tuple(calibrations), dict(settings or {})
        self.percent_to_sigma = percent_to_sigma
        self.rows: tuple[int, ...] = tuple(range(options.candidates))
        self.lineage = list(range(options.candidates))
        self.rounds: list[Round] = []
        self.passed = self.network_rows = self.scoring_rows = 0
        self.stops = stops_of(options, self.calibrations, settings) if options.mode is SearchMode.STOP else ()
        further = dict.fromkeys([*options.further, *(scorer for stop in self.stops for scorer in stop.further)])
        self.options = replace(options, further=tuple(further))

    @property
    def copies(self) -> set[int]:
        """Rows that have gone on from another's state, with noise of their own since then: no seed draws them again."""
        return {row for each in self.rounds for row, source in zip(each.rows, each.sources, strict=True) if row != source}

    @cached_property
    def edges(self) -> tuple[float, ...]:
        """The level at which each point is passed; read at the first step, since some schedules are not known before."""
        return tuple(self.percent_to_sigma(point) * (1 + TOLERANCE) for point in self.options.points)

    def due(self, sigma: float) -> bool:
        """Whether the rows are to be compared at this step. False too where the comparison could change nothing."""
        passed = self._passed(sigma)
        if passed == self.passed or not self.rows:
            return False
        if self.options.mode is SearchMode.STOP or self.options.always:
            return True
        return self._target(passed) < len(self.rows) or (self.options.mode is SearchMode.RESAMPLE and len(self.rows) > 1)

    def select(self, scores: Scores, sigma: float) -> Round:
        """Decide at a step that is due. scores: of ``rows``, in their order. Raises ValueError for another number of scores."""
        self._check(scores)
        passed = self._passed(sigma)
        target, percent = self._target(passed), self.options.points[passed - 1]
        if self.options.mode is SearchMode.RESAMPLE:
            outcome = self._resample(scores, target)
        else:
            decision = self.stops[passed - 1].decide(scores) if self.stops else self._best(scores, target)
            outcome = decision.accepted, decision.accepted, decision.reasons
        self.passed = passed
        return self._keep(scores, percent, sigma, *outcome)

    @property
    def needs_final_scores(self) -> bool:
        """Whether more images are finished than are to be kept."""
        return len(self.rows) > self.options.keep

    def finish(self, scores: Scores | None = None) -> tuple[int, ...]:
        """The rows to keep, best first. scores: of the finished ``rows`` where ``needs_final_scores``.

        Raises ValueError where ``always`` asks for a comparison that no step was late enough for.
        """
        if self.options.always and self.passed < len(self.options.points):
            late = self.options.points[self.passed]
            raise ValueError(f"No step of this run lies as late as {late:g} of the noise schedule, to compare anything there; choose less.")
        if self.needs_final_scores:
            if scores is None:
                raise ValueError(f"{len(self.rows)} images are finished and {self.options.keep} are to be kept: give their scores.")
            self._check(scores)
            decision = self._best(scores, self.options.keep)
            self._keep(scores, 1.0, 0.0, decision.accepted, decision.accepted, decision.reasons)
        return self._ranked()

    def _passed(self, sigma: float) -> int:
        return max([self.passed, *(i + 1 for i, edge in enumerate(self.edges) if sigma <= edge)])

    def _target(self, passed: int) -> int:
        """How many go on after the points up to ``passed``; of points that share a step, each takes its fraction."""
        count = len(self.rows)
        for fraction in self.options.fractions[self.passed : passed]:
            count = max(min(self.options.keep, count), math.ceil(count * fraction - 1e-9))
        return count

    def _check(self, scores: Scores) -> None:
        for scorer in self.options.scorers:
            if scores.by[scorer].shape != (len(self.rows),):
                raise ValueError(f"{len(self.rows)} candidates are compared, got scores of shape {tuple(scores.by[scorer].shape)}.")

    def _best(self, scores: Scores, count: int) -> Decision:
        """The filter's own rule, so that NaN goes first; where no score is a number, the first ``count`` go on.

        One score is told as it is, low or high; several have no common unit, and what is told is their ranks joined.
        """
        scorers = self.options.scorers
        if len(scorers) == 1:
            decision = decide(scores.by[scorers[0]], DIRECTION_OF_SCORER[scorers[0]], FilterRule.KEEP_BEST_COUNT, count)
        else:
            decision = decide(scores.badness(scorers), Direction.HIGH_IS_BAD, FilterRule.KEEP_BEST_COUNT, count)
            decision = replace(decision, reasons=tuple(reason.replace("score", "joined rank", 1) for reason in decision.reasons))
        if decision.accepted or count == 0:
            return decision
        first = tuple(range(count))
        reasons = ("No candidate has a score that is a finite number, so the first ones go on.",) * len(self.rows)
        return Decision(first, tuple(range(count, len(self.rows))), decision.order, None, reasons)

    def _resample(self, scores: Scores, count: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]:
        weights = weigh(scores.badness(self.options.scorers), self.options.sharpness)
        start = float(torch.rand((), generator=step_generator(self.options.seed, len(self.rounds)), dtype=torch.float64))
        counts = systematic_counts(weights, count, start)
        reasons = tuple(f"Weight {w:.3g}: {c} of {count} go on from here." for w, c in zip(weights.tolist(), counts.tolist(), strict=True))
        return *place_copies(counts), reasons

    def _keep(
        self, scores: Scores, percent: float, sigma: float, indexes: Sequence[int], sources: Sequence[int], reasons: tuple[str, ...]
    ) -> Round:
        """indexes, sources: within ``rows``."""
        rows, states = tuple(self.rows[i] for i in indexes), tuple(self.rows[i] for i in sources)
        decided = Round(percent, sigma, self.rows, scores.by, rows, states, reasons)
        before = list(self.lineage)
        for row, source in zip(rows, states, strict=True):
            self.lineage[row] = before[source]
        self.scoring_rows += scores.rows
        self.rounds.append(decided)
        self.rows = rows
        return decided

    def _ranked(self) -> tuple[int, ...]:
        """``rows``, best first by the last comparison that they were in; as they are where there was none."""
        if not self.rounds:
            return self.rows
        last = self.rounds[-1]
        badness = Scores(last.scores).badness(self.options.scorers)
        ranks = {last.compared[i]: rank for rank, i in enumerate(best_first(badness).tolist())}
        sources = dict(zip(last.rows, last.sources, strict=True))
        return tuple(sorted(self.rows, key=lambda row: (ranks[sources[row]], row)))
