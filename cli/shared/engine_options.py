"""Where a job runs: asked for on the command line, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ...core.options.bounds import check_fields
from ...core.options.limits import THREADS, WORKERS


class EngineKind(str, Enum):
    PROCESS = "process"
    RAY = "ray"


@dataclass(frozen=True)
class EngineOptions:
    """workers, address: of Ray; address None: of this machine. threads: of torch in each process; 0: its own choice, 1 for Ray."""

    engine: EngineKind = EngineKind.PROCESS
    workers: int = WORKERS.field()
    address: str | None = None
    threads: int = THREADS.field()

    def __post_init__(self) -> None:
        check_fields(self)
        for name, value in (("workers", self.workers), ("address", self.address)):
            if value and self.engine is not EngineKind.RAY:
                raise ValueError(f"{name} belongs to the engine ray: add --engine ray, or leave out --{name}.")
