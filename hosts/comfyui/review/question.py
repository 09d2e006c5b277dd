"""One question to a person: which of these images are good? It is open while its run waits, and known by its id to the route."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

DEFAULT_SECONDS = 120.0  # where neither node nor page says how long to wait


class Ending(str, Enum):
    """How a review came to its end, in words that follow "Review: "."""

    ANSWERED = "you decided"
    LEFT = "you left them to the rule"
    TIMED_OUT = "nobody decided in time"
    CLOSED = "the page was closed"
    NO_PAGE = "no open page of ComfyUI queued this run"
    NO_IMAGES = "connect images to see them"
    NONE_NEAR = "no image is near the line"


@dataclass(eq=False)
class Question:
    """client: the page that queued the run, and alone may answer.   asked: indexes of the images.   shown: what the page draws.

    seconds: to wait after the person's last sign of life; None: as the page says, 0: without end while the page is open.
    The route changes what stands below, in a thread of its own; the waiting run reads it.
    """

    client: str
    asked: tuple[int, ...]
    shown: dict[str, Any]
    seconds: float | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    seen: bool = False
    last_sign: float = field(default_factory=time.monotonic)
    ending: Ending | None = None
    accepted: tuple[int, ...] = ()
    rejected: tuple[int, ...] = ()

    @property
    def patience(self) -> float:
        return DEFAULT_SECONDS if self.seconds is None else self.seconds

    def see(self, seconds: float | None) -> None:
        """The page shows it. seconds: what the person has set in the settings of the page; the node's own go first."""
        if self.seconds is None:
            self.seconds = seconds
        self.seen = True
        self.touch()

    def touch(self) -> None:
        self.last_sign = time.monotonic()

    def answer(self, accepted: tuple[int, ...], rejected: tuple[int, ...]) -> None:
        self.accepted, self.rejected, self.ending = accepted, rejected, Ending.ANSWERED

    def leave(self) -> None:
        self.ending = Ending.LEFT


OPEN: dict[str, Question] = {}  # those that runs are waiting for; a run takes its own out when it ends, in whatever way


@contextmanager
def posted(question: Question) -> Iterator[Question]:
    OPEN[question.id] = question
    try:
        yield question
    finally:
        OPEN.pop(question.id, None)
