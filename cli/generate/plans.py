"""Which images are drawn next, and which of them are kept: a number of images, or until enough of them are accepted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from ...core.options import FilterRule
from ...core.result import Uncertainty
from ...core.search.until import Until
from ...core.selection.calibration import Calibration
from .drawings import Drawing, Stopped, choose_best
from .options import GenerateOptions


class Plan(Protocol):
    """verb: what is done, on the progress bar; total: what is counted towards, in images; done: out of it.

    made_with: how the images and their scores are made, once the first is drawn.
    """

    verb: str
    made_with: Mapping[str, str]

    @property
    def total(self) -> int: ...

    @property
    def done(self) -> int: ...

    def add(self, drawing: Drawing) -> None:
        """One that is drawn, now or by an earlier run."""

    def pass_over(self, stopped: Stopped) -> None:
        """One that was left on its way, now or by an earlier run."""

    def next_numbers(self, batch: int) -> Sequence[int] | None:
        """The images to draw now, at most a batch; none: the run is at its end; None: what was asked for must be added first.

        Which images share a batch depends neither on the order in which batches are done nor on stops: a processor may choose another
        arithmetic for a batch of another size, and an image should come out the same to the last bit.
        """

    def choose(self, ranked: Iterable[Mapping[str, Any]]) -> set[int]:
        """The images to keep, of rows in the order of their ranks."""

    def reasons(self) -> Mapping[int, str]:
        """Why images are kept or not, by number, where it isn't the rank alone."""

    def details(self) -> Mapping[str, Any]:
        """What results.json says of the whole run."""


class FixedCount:
    """Images 0 to ``total`` - 1, of which the best are kept."""

    verb = "Draw"

    def __init__(self, total: int, keep: int, each: bool) -> None:
        self.total, self.keep, self.each = total, keep, each
        self.done = self.next = 0
        self.made_with: Mapping[str, str] = {}
        self.is_drawn = bytearray(total)  # a byte an image, since there may be millions

    def add(self, drawing: Drawing | Stopped) -> None:
        if drawing.image < self.total and not self.is_drawn[drawing.image]:
            self.is_drawn[drawing.image] = True
            self.done += 1

    def pass_over(self, stopped: Stopped) -> None:
        self.add(stopped)

    def next_numbers(self, batch: int) -> Sequence[int]:
        missing: list[int] = []
        while self.next < self.total and not missing:
            end = min(self.next - self.next % batch + batch, self.total)
            missing = [number for number in range(self.next, end) if not self.is_drawn[number]]
            self.next = end
        return missing

    def choose(self, ranked: Iterable[Mapping[str, Any]]) -> set[int]:
        return choose_best(ranked, self.keep, self.each)

    def reasons(self) -> Mapping[int, str]:
        return {}

    def details(self) -> Mapping[str, Any]:
        return {}


@dataclass
class UntilAccepted:
    """Image 0, 1, 2, .. until ``total`` are accepted, each attempt one image; decisions are ``core.search.until.Until``'s own.

    first: how many images the rule is read off where there is no ``calibration``; they are then judged by it as the others are. Those of
    them that were stopped on their way count as the worst.
    next: where the batch after those that were asked for begins. accepted: how many of the first 0, 1, 2, .. that were judged.
    """

    options: GenerateOptions
    calibration: Calibration | None
    first: int
    run: Until | None = field(init=False, default=None)
    drawn: dict[int, Drawing] = field(init=False, default_factory=dict)
    stopped: dict[int, Stopped] = field(init=False, default_factory=dict)
    next: int = field(init=False, default=0)
    accepted: list[int] = field(init=False, default_factory=lambda: [0])
    made_with: Mapping[str, str] = field(init=False, default_factory=dict)
    verb = "Keep"

    @classmethod
    def load(cls, options: GenerateOptions) -> UntilAccepted:
        """Raises what ``Calibration.load``, ``Calibration.check`` and ``Calibration.risk_threshold`` raise."""
        search, calibration = options.search, None
        if search.calibration is not None:
            calibration = Calibration.load(search.calibration)
            calibration.check(quantity_of(options), options.direction, options.known_settings())
            if search.rule is FilterRule.AT_MOST_BAD:  # labels too few are better known before the first image is drawn
                calibration.risk_threshold(search.until_options().value, search.until_options().confidence)
        return cls(options, calibration, search.calibrate_with if search.needs_first else 0)

    @property
    def total(self) -> int:
        return self.options.search.until_options().wanted

    @property
    def done(self) -> int:
        self.judge()
        return self.run.accepted if self.run else 0

    def add(self, drawing: Drawing) -> None:
        self.drawn[drawing.image] = drawing

    def pass_over(self, stopped: Stopped) -> None:
        self.stopped[stopped.image] = stopped

    def is_known(self, number: int) -> bool:
        return number in self.drawn or number in self.stopped

    def next_numbers(self, batch: int) -> Sequence[int] | None:
        """Never more than are still wanted, so that no image is drawn for nothing. The next batch is known once it is sure how many
        those are: what is being drawn elsewhere may all be accepted.
        """
        while True:
            self.judge()
            if self.run is not None and self.run.done:
                return []
            size = self.first - self.next
            if size < 1 and self.run is not None:
                size = self.still_wanted(self.run, batch)
            if size < 1:
                return None
            numbers = range(self.next, self.next + min(size, batch))
            self.next = numbers.stop
            if missing := [number for number in numbers if not self.is_known(number)]:
                return missing

    def still_wanted(self, run: Until, batch: int) -> int:
        """From image ``next`` on, as if all before it and none after it were judged; 0 where that is not known yet, or no try is left."""
        known = min(run.attempts, self.next)
        being_drawn = self.next - known
        wanted = self.total - self.accepted[known] - being_drawn
        return min(wanted, run.options.max_attempts - self.next) if wanted >= batch or not being_drawn else 0

    @property
    def limit(self) -> float:
        """In the score's units. Only once there is a run."""
        return math.nan if self.run is None else self.run.limit

    def judge(self) -> None:
        """In the order of the numbers, as far as they are there: so that a run that was stopped comes to the same."""
        if self.run is None and all(self.is_known(number) for number in range(self.first)):
            self.run = Until(self.options.search.until_options(), self.calibration or self.calibrate())
        while self.run is not None and not self.run.done and self.is_known(self.run.attempts):
            if (left := self.stopped.get(self.run.attempts)) is not None:
                self.run.pass_over(left.calls)
                self.accepted.append(self.accepted[-1])
                continue
            drawing = self.drawn[self.run.attempts]
            (verdict,) = self.run.offer(as_result(drawing, self.options, self.made_with), drawing.calls or 0.0)
            self.accepted.append(self.accepted[-1] + verdict.accepted)

    def calibrate(self) -> Calibration | None:
        if not self.first:
            return None
        scores = [as_result(self.drawn[number], self.options).scores for number in range(self.first) if number in self.drawn]
        if not scores:
            raise ValueError(
                f"All of the first {self.first} images were stopped on their way, so that they have no score that a limit could be read "
                "off. Raise --early-limit or --calibrate-with, or name earlier scores with --calibration."
            )
        stopped = self.first - len(scores)
        return Calibration.fit(scores, self.options.direction, quantity_of(self.options), stopped=stopped)

    def choose(self, ranked: Iterable[Mapping[str, Any]]) -> set[int]:
        return {verdict.attempt for verdict in self.run.verdicts if verdict.accepted} if self.run else set()

    def reasons(self) -> Mapping[int, str]:
        if self.run is None:
            return {}
        beyond = f"Rejected: {self.run.accepted} were accepted before it, as many as were wanted."
        return {number: beyond for number in self.drawn if self.run.done} | {v.attempt: v.reason for v in self.run.verdicts}

    def details(self) -> Mapping[str, Any]:
        run, asked = self.run, self.options.search.until_options()
        told = {"until_kept": asked.wanted, "max_attempts": asked.max_attempts, "rule": asked.rule.value, "value": asked.value}
        if asked.rule is FilterRule.AT_MOST_BAD:
            told |= {"confidence": asked.confidence}
        if run is not None:
            told |= {"limit": self.limit, "attempts": run.attempts, "accepted": run.accepted, "calls": run.nfe}
        return {"until": told}


def quantity_of(options: GenerateOptions) -> str:
    """The score's name as results have it."""
    return options.method.value.replace("-", "_")


def as_result(drawing: Drawing, options: GenerateOptions, made_with: Mapping[str, str] | None = None) -> Uncertainty:
    """One image's score as a batch of one."""
    scores = torch.tensor([math.nan if drawing.score is None else drawing.score])
    map_, curve, sigmas = scores[:, None], scores.new_empty((0, 1)), scores.new_empty(0)
    costs = drawing.nfe, drawing.seconds
    return Uncertainty(map_, scores, curve, sigmas, options.direction, quantity_of(options), *costs, dict(made_with or {}))


def make_plan(options: GenerateOptions) -> FixedCount | UntilAccepted:
    if options.search.until_kept is None:
        return FixedCount(options.images, options.keep_count, options.each)
    return UntilAccepted.load(options)
