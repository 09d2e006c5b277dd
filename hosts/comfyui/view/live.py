"""The scores of a run as they are measured, for the page that queued it and for what the node shows afterwards.

Sent at most ten times a second to that page alone, and to nobody when the prompt came over the API. Nothing of it may end a run.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ....core.options import Direction
from ....core.result import Uncertainty
from .page import find_page, origin
from .usual import Usual, find_usual

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)
EVENT = "uncertainty.live"
KEY = "uq_live"  # in what a node shows
SECONDS = 0.1  # between two messages
DIGITS = 4
SERIES = 64  # images that are told apart

Step = list[Any]  # place on the axis, noise level, score of each image; where a calibration knows it, between which scores most were


class Live:
    """What one node tells of its runs. node: its id in the prompt. kind: its class, by which the page knows that it has the right node.

    ``shown`` is the node's ``ui``: a node that patches a model has run before the sampler has, so what it shows is filled later.
    """

    def __init__(self, node: str | None, kind: str) -> None:
        self.node, self.kind = node, kind
        self.run: dict[str, Any] = {"curve": None}

    @property
    def shown(self) -> dict[str, list[Any]]:
        return {KEY: [self.run], **origin(self.kind)}

    @contextmanager
    def follow(
        self, length: int, axis: str, direction: Direction, limit: float | None = None, span: tuple[int, int] | None = None
    ) -> Iterator[LiveRun]:
        """One run: ``length`` places on an axis of steps, levels, attempts or points.

        limit: a line that decides, where there is one. span: the first and the last place that is measured; all when left out.
        """
        run = LiveRun(self, head(length, axis, direction, limit, span))
        try:
            yield run
        finally:
            run.send(done=True)


class LiveRun:
    """The scores of one run."""

    def __init__(self, live: Live, head: dict[str, Any]) -> None:
        self.usual = usual_of(live, head)
        self.live, self.head = live, {**head, "run": uuid.uuid4().hex[:12], "usual": self.usual and self.usual.shown}
        self.steps: list[Step] = []
        self.sent, self.last = 0, -math.inf
        self.page = find_page(live.node, live.kind)

    def add(self, place: float, sigma: float | None, scores: Tensor | Sequence[float | None]) -> None:
        """The scores of all images at one place of the axis, None for one that is out."""
        band = self.usual and self.usual.band(sigma)
        self.steps.append([*step(place, sigma, scores), *([[rounded(side) for side in band]] if band else [])])
        if time.monotonic() - self.last >= SECONDS:
            self.send()

    def send(self, done: bool = False) -> None:
        """What has come since the last message."""
        self.live.run["curve"] = {**self.head, "steps": list(self.steps)}  # one new value: another thread may be writing it as JSON
        if self.page is None or (self.sent == len(self.steps) and not done):
            return
        message = {**self.head, "from": self.sent, "steps": self.steps[self.sent :], "done": done}
        self.sent, self.last = len(self.steps), time.monotonic()
        if not self.page.send(EVENT, message):
            self.page = None


def usual_of(live: Live, head: dict[str, Any]) -> Usual | None:
    try:
        return None if live.node is None else find_usual(live.node, head["direction"])
    except Exception:
        log.warning("The live curve has no band of earlier images; the run goes on without it.", exc_info=True)
        return None


def show_curve(result: Uncertainty, kind: str) -> dict[str, list[Any]]:
    """The ``ui`` of a node of this class that gives a finished result: its curve in the form of one that was followed."""
    steps = [step(i, sigma, scores) for i, (sigma, scores) in enumerate(zip(result.sigmas.tolist(), result.curve, strict=True))]
    curve = {**head(len(steps), "level", result.direction), "run": name_of(steps), "steps": steps}
    return {KEY: [{"curve": curve}], **origin(kind)}


def head(length: int, axis: str, direction: Direction, limit: float | None = None, span: tuple[int, int] | None = None) -> dict[str, Any]:
    return {"of": length, "span": span or (0, length - 1), "axis": axis, "direction": direction.value, "limit": limit}


def step(place: float, sigma: float | None, scores: Tensor | Iterable[float | None]) -> Step:
    values = scores.tolist() if isinstance(scores, Tensor) else list(scores)
    return [place, rounded(sigma), [rounded(value) for value in values[:SERIES]]]


def rounded(value: float | None) -> float | None:
    """Short, and None in place of what JSON can't hold."""
    return float(f"{value:.{DIGITS}g}") if value is not None and math.isfinite(value) else None


def name_of(steps: Sequence[Step]) -> str:
    """The same for the same scores, so that a page that has seen them doesn't count them twice."""
    return uuid.uuid5(uuid.NAMESPACE_OID, repr(steps)).hex[:12]
