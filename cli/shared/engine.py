"""Where a job's batches are worked at: in this process, or by Ray's actors (see ray_engine.py). All else about a job is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import torch

from .engine_options import EngineKind, EngineOptions

Task = TypeVar("Task")
Done = TypeVar("Done")


class Engine(Protocol):
    """elsewhere: whether the work is done by other processes, which must load models of their own."""

    elsewhere: ClassVar[bool]

    def run(self, load: Callable[[], Callable[[Task], Done]], tasks: Iterator[Task | None]) -> Iterator[Done]:
        """What each task gives, in the order in which they end. Results are written by who asks for them, never by the work itself.

        load: the work, with its model, called late: nothing to do needs no model. Its results depend on the task alone, not on what
        was done before or where. tasks: asked for as they can be begun; None: there is none until one more result was looked at.
        """


@dataclass(frozen=True)
class OneProcess:
    """One batch after another. threads: of torch; 0: as they are."""

    threads: int = 0
    elsewhere: ClassVar[bool] = False

    def run(self, load: Callable[[], Callable[[Task], Done]], tasks: Iterator[Task | None]) -> Iterator[Done]:
        before, work = torch.get_num_threads(), None
        torch.set_num_threads(self.threads or before)
        try:
            for task in tasks:
                if task is not None:
                    work = work or load()
                    yield work(task)
        finally:
            torch.set_num_threads(before)


def make_engine(options: EngineOptions, device: str) -> Engine:
    """Raises ModuleNotFoundError, with the way out, where Ray is asked for and missing."""
    if options.engine is EngineKind.PROCESS:
        return OneProcess(options.threads)
    from .ray_engine import RayEngine, import_ray

    import_ray()
    return RayEngine(options.workers, options.address, device, options.threads or 1)
