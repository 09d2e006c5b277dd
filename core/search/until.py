"""Sampling until images are good: which seed comes next, what was accepted, and what is best so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..options import Direction, FilterRule, UntilOptions
from ..result import Uncertainty
from ..selection.calibration import Calibration
from ..selection.filtering import decide, need_calibration
from ..selection.settings import common_settings
from .seeds import derive_seed


@dataclass(frozen=True)
class Verdict:
    """What became of one image. attempt: 0, 1, ..; index: its place in that attempt's batch. badness: the score turned, high = bad."""

    attempt: int
    index: int
    seed: int
    score: float
    badness: float
    accepted: bool
    reason: str

    @property
    def rank(self) -> tuple[bool, float, int, int]:
        """Sorts accepted images first, in the order of the attempts, and the others from best to worst; NaN last."""
        badness = self.badness if math.isfinite(self.badness) else math.inf
        return (not self.accepted, 0.0 if self.accepted else badness, self.attempt, self.index)


@dataclass
class Until:
    """The state of one run. A host samples with ``seed``, scores, and hands the result to ``offer``, until it is ``done``.

    calibration: for the rules ``calibrated`` and ``at_most_bad``. Decisions are ``core.selection.filtering.decide``'s own.
    settings: how the scores are made, of what results don't tell themselves; they must not contradict the calibration's.
    stopped: images that the host left on their way, which are told and decide nothing.
    Raises ValueError for a rule that needs a calibration without one.
    """

    options: UntilOptions
    calibration: Calibration | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0
    accepted: int = 0
    stopped: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    nfe: float = 0.0

    def __post_init__(self) -> None:
        if self.options.rule is not FilterRule.THRESHOLD:  # now, not after an attempt was drawn in vain
            need_calibration(self.options.rule, self.calibration)

    @property
    def seed(self) -> int:
        """Of the attempt that comes next; the first is the run's own (see ``derive_seed``)."""
        return derive_seed(self.options.seed, self.attempts)

    @property
    def done(self) -> bool:
        return self.accepted >= self.options.wanted or self.attempts >= self.options.max_attempts

    @property
    def succeeded(self) -> bool:
        return self.accepted >= self.options.wanted

    @property
    def limit(self) -> float:
        """The score that decides."""
        options, calibration = self.options, self.calibration
        if calibration is None or options.rule is FilterRule.THRESHOLD:
            return options.value
        if options.rule is FilterRule.CALIBRATED:
            return calibration.threshold_at(options.value)
        return calibration.risk_threshold(options.value, options.confidence)

    def offer(self, result: Uncertainty, nfe: float = 0.0, places: Sequence[int] | None = None) -> list[Verdict]:
        """Judge the batch of one attempt. nfe: calls that its sampling cost, of all its images; those of the score are added.

        places: of the images within the batch, where some were left on their way.

        Raises ValueError when the run is done, and what ``decide`` raises.
        """
        if self.done:
            raise ValueError(f"The run has ended after {self.attempts} attempts with {self.accepted} accepted; start another.")
        verdicts = self._judge(result, self.attempts, self.seed, places)
        self.nfe += nfe + result.nfe * len(result)
        self.attempts += 1
        return self._count(verdicts)

    def pass_over(self, nfe: float) -> None:
        """Count an attempt none of whose images was finished. nfe: calls that it cost all the same."""
        self.nfe += nfe
        self.attempts += 1

    def carry(self, result: Uncertainty) -> list[Verdict]:
        """Judge images of an earlier run, which count as accepted or best so far but as no attempt: theirs is -1, and their seed too."""
        return self._count(self._judge(result, -1, -1))

    def go_on(self, options: UntilOptions, calibration: Calibration | None = None) -> Until:
        """The same run with ``options.max_attempts`` attempts more; this one stays as it is.

        Going on n times with one attempt each is one run of n + 1 attempts: seeds and verdicts are the same.
        Raises ValueError for another number of wanted images: only so many were kept.
        """
        if options.wanted != self.options.wanted:
            raise ValueError(f"wanted must be {self.options.wanted} as in the rounds before, got {options.wanted}.")
        further = replace(options, max_attempts=self.attempts + options.max_attempts)
        return replace(self, options=further, calibration=calibration, verdicts=list(self.verdicts))

    def best(self) -> list[Verdict]:
        """The ``wanted`` best so far: those accepted, as they came, then the best of the others, which say so."""
        return sorted(self.verdicts, key=lambda v: v.rank)[: self.options.wanted]

    def _judge(self, result: Uncertainty, attempt: int, seed: int, places: Sequence[int] | None = None) -> list[Verdict]:
        options = self.options
        made = {**common_settings([result.provenance]), **self.settings}
        scores, direction, quantity = result.scores, result.direction, result.quantity
        rule, value, sure = options.rule, options.value, options.confidence
        found = decide(scores, direction, rule, value, self.calibration, quantity=quantity, made=made, confidence=sure)
        sign, accepted = 1 if result.direction is Direction.HIGH_IS_BAD else -1, set(found.accepted)
        return [
            Verdict(attempt, i if places is None else places[i], seed, score, sign * score, i in accepted, found.reasons[i])
            for i, score in enumerate(result.scores.detach().cpu().double().tolist())
        ]

    def _count(self, verdicts: list[Verdict]) -> list[Verdict]:
        self.accepted += sum(v.accepted for v in verdicts)
        self.verdicts += verdicts
        return verdicts
