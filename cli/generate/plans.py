"""Which images are drawn next, and which of them are kept: a number of images, or until enough of them are accepted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from ...core.result import Uncertainty
from ...core.search.until import Until
from ...core.selection.calibration import Calibration
from .drawings import Drawing, Ranking, choose_best
from .options import GenerateOptions

Drawn = Mapping[int, Drawing]  # by number


class Plan(Protocol):
    """verb: what is done, on the progress bar; total: what is counted towards, in images."""

    verb: str

    @property
    def total(self) -> int: ...

    def done(self, drawn: Drawn) -> int:
        """Out of ``total``."""

    def next_numbers(self, drawn: Drawn, batch: int) -> Sequence[int]:
        """The images to draw now, at most a batch; none: the run is at its end."""

    def choose(self, ranking: Ranking) -> set[int]:
        """The images to keep."""

    def reasons(self, drawn: Drawn) -> Mapping[int, str]:
        """Why images are kept or not, by number, where it isn't the rank alone."""

    def details(self) -> Mapping[str, Any]:
        """What results.json says of the whole run."""


@dataclass
class FixedCount:
    """Images 0 to ``total`` - 1, of which the best are kept."""

    total: int
    keep: int
    each: bool
    first: int = 0  # that may be missing
    verb = "Draw"

    def done(self, drawn: Drawn) -> int:
        return sum(number < self.total for number in drawn)

    def next_numbers(self, drawn: Drawn, batch: int) -> Sequence[int]:
        missing: list[int] = []
        while self.first < self.total and len(missing) < batch:
            if self.first not in drawn:
                missing.append(self.first)
            self.first += 1
        return missing

    def choose(self, ranking: Ranking) -> set[int]:
        return choose_best(ranking, self.keep, self.each)

    def reasons(self, drawn: Drawn) -> Mapping[int, str]:
        return {}

    def details(self) -> Mapping[str, Any]:
        return {}


@dataclass
class UntilAccepted:
    """Image 0, 1, 2, .. until ``total`` are accepted, each attempt one image; decisions are ``core.search.until.Until``'s own.

    first: how many images the rule is read off where there is no ``calibration``; they are then judged by it as the others are.
    """

    options: GenerateOptions
    calibration: Calibration | None
    first: int
    run: Until | None = field(init=False, default=None)
    verb = "Keep"

    @classmethod
    def load(cls, options: GenerateOptions) -> UntilAccepted:
        """Raises what ``Calibration.load`` and ``Calibration.check`` raise."""
        search, calibration = options.search, None
        if search.calibration is not None:
            calibration = Calibration.load(search.calibration)
            calibration.check(quantity_of(options), options.direction)
        return cls(options, calibration, search.calibrate_with if search.needs_first else 0)

    @property
    def total(self) -> int:
        return self.options.search.until_options().wanted

    def done(self, drawn: Drawn) -> int:
        self.judge(drawn)
        return self.run.accepted if self.run else 0

    def next_numbers(self, drawn: Drawn, batch: int) -> Sequence[int]:
        """Never more than are still wanted, so that no image is drawn for nothing."""
        self.judge(drawn)
        if self.run is None:
            return [number for number in range(self.first) if number not in drawn][:batch]
        if self.run.done:
            return []
        count = min(batch, self.total - self.run.accepted, self.run.options.max_attempts - self.run.attempts)
        return [number for number in range(self.run.attempts, self.run.attempts + count) if number not in drawn]

    @property
    def limit(self) -> float:
        """In the score's units. Only once there is a run."""
        value, calibration = self.options.search.until_options().value, self.run.calibration if self.run else None
        return value if calibration is None else calibration.threshold_at(value)

    def judge(self, drawn: Drawn) -> None:
        """In the order of the numbers, as far as they are there: so that a run that was stopped comes to the same."""
        if self.run is None and all(number in drawn for number in range(self.first)):
            self.run = Until(self.options.search.until_options(), self.calibration or self.calibrate(drawn))
        while self.run is not None and not self.run.done and self.run.attempts in drawn:
            drawing = drawn[self.run.attempts]
            self.run.offer(as_result(drawing, self.options), drawing.calls or 0.0)

    def calibrate(self, drawn: Drawn) -> Calibration | None:
        if not self.first:
            return None
        scores = torch.cat([as_result(drawn[number], self.options).scores for number in range(self.first)])
        return Calibration.fit([scores], self.options.direction, quantity_of(self.options))

    def choose(self, ranking: Ranking) -> set[int]:
        return {verdict.attempt for verdict in self.run.verdicts if verdict.accepted} if self.run else set()

    def reasons(self, drawn: Drawn) -> Mapping[int, str]:
        if self.run is None:
            return {}
        beyond = f"Rejected: {self.run.accepted} were accepted before it, as many as were wanted."
        return {number: beyond for number in drawn if self.run.done} | {v.attempt: v.reason for v in self.run.verdicts}

    def details(self) -> Mapping[str, Any]:
        run, asked = self.run, self.options.search.until_options()
        told = {"until_kept": asked.wanted, "max_attempts": asked.max_attempts, "rule": asked.rule.value, "value": asked.value}
        if run is not None:
            told |= {"limit": self.limit, "attempts": run.attempts, "accepted": run.accepted, "calls": run.nfe}
        return {"until": told}


def quantity_of(options: GenerateOptions) -> str:
    """The score's name as results have it."""
    return options.method.value.replace("-", "_")


def as_result(drawing: Drawing, options: GenerateOptions) -> Uncertainty:
    """One image's score as a batch of one."""
    scores = torch.tensor([math.nan if drawing.score is None else drawing.score])
    map_, curve, sigmas = scores[:, None], scores.new_empty((0, 1)), scores.new_empty(0)
    return Uncertainty(map_, scores, curve, sigmas, options.direction, quantity_of(options), drawing.nfe, drawing.seconds)


def make_plan(options: GenerateOptions) -> FixedCount | UntilAccepted:
    if options.search.until_kept is None:
        return FixedCount(options.images, options.keep_count, options.each)
    return UntilAccepted.load(options)
