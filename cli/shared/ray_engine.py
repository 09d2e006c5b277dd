"""A job's batches on Ray's actors, each with a model of its own: on this machine, or on the cluster at an address.

Ray does most of what a scheduler does: it places actors, starts them anew where a process or a machine has died, and asks them again for
what was lost. Nothing is lost or doubled by that, since an actor writes no file: what it made comes to the process that was started by the
user, which writes it as if it had made it itself. A task depends on nothing but itself, so that its result is the same wherever it runs.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, ClassVar, Generic

import torch

from ...core.files import reason_of
from .engine import Done, Task

AHEAD = 2  # tasks for each worker: one that it works at, one that waits for it
RETRIES = 5  # of a task whose worker died, before it is taken to be what kills them
PATIENCE, SHORTEST_PATIENCE = 3.0, 10.0  # times the longest that a task has taken, and seconds, before another worker gets it too
END: Any = object()
LOST: Any = object()


@dataclass(frozen=True)
class RayEngine:
    """workers 0: one for each GPU, without GPUs one for each processor. address None: of this machine, started and ended here."""

    workers: int = 0
    address: str | None = None
    device: str = "cpu"
    threads: int = 1
    elsewhere: ClassVar[bool] = True

    def run(self, load: Callable[[], Callable[[Task], Done]], tasks: Iterator[Task | None]) -> Iterator[Done]:
        first = next(tasks, None)
        if first is None:
            return
        ray = import_ray()
        with session(ray, self.address, self.workers * self.threads):
            actors = self.start_actors(ray, load)
            try:
                all_tasks: Iterator[Task | None] = chain([first], tasks)
                yield from Dispatch[Task, Done](ray, actors).results(all_tasks)
            finally:
                for actor in actors:
                    ray.kill(actor)  # with the task that it may be at: a run that was stopped should not wait for it

    def start_actors(self, ray: Any, load: Callable[[], Any]) -> list[Any]:
        gpus = 1 if torch.device(self.device).type == "cuda" else 0
        room = ray.cluster_resources()
        workers = self.workers or max(1, int(room.get("GPU", 0) if gpus else room.get("CPU", 1) // self.threads))
        if gpus and room.get("GPU", 0) < workers:
            raise ValueError(f"{workers} workers need a GPU each, there are {room.get('GPU', 0):g}: ask for fewer --workers.")
        options = {"num_gpus": gpus, "num_cpus": self.threads, "max_restarts": -1, "max_task_retries": RETRIES}
        actor = ray.remote(**options)(ModelActor)
        return [actor.remote(load, self.threads) for _ in range(workers)]


class ModelActor(Generic[Task, Done]):
    """What runs in each of Ray's processes. The model is loaded with the first task, so that what is wrong with it is that task's error."""

    def __init__(self, load: Callable[[], Callable[[Task], Done]], threads: int) -> None:
        torch.set_num_threads(threads)
        self.load = load
        self.work: Callable[[Task], Done] | None = None

    def do(self, task: Task) -> Done:
        self.work = self.work or self.load()
        return self.work(task)


class Dispatch(Generic[Task, Done]):
    """Which worker has which tasks, and what becomes of them.

    A machine that leaves a cluster for good would keep its tasks for ever: after a long silence a task is given to an idle worker too, and
    its first result counts, which is the same wherever it comes from.
    """

    def __init__(self, ray: Any, actors: Sequence[Any]) -> None:
        self.ray = ray
        self.actors = actors
        self.given: dict[Any, tuple[int, int, float]] = {}  # by Ray's reference: numbers of task and worker, and when
        self.undone: dict[int, Task] = {}
        self.numbers = count()
        self.longest = 0.0  # seconds from giving a task to its result; 0 before the first

    def results(self, tasks: Iterator[Task | None]) -> Iterator[Done]:
        """As they come; no worker has more than AHEAD tasks that it has not answered."""
        task: Any = None
        while True:
            while task is not END and (worker := self.free_worker(AHEAD)) is not None and (task := next(tasks, END)) not in (None, END):
                self.give(worker, next(self.numbers), task)
            if not self.undone:
                return
            patience = max(SHORTEST_PATIENCE, PATIENCE * self.longest) if self.longest else None
            ready, _ = self.ray.wait(list(self.given), timeout=patience)
            if not ready:
                self.give_again()
            for reference in ready:
                number, _, when = self.given.pop(reference)
                if number in self.undone and (result := self.result(reference, number)) is not LOST:
                    del self.undone[number]
                    self.longest = max(self.longest, time.monotonic() - when)
                    yield result

    def free_worker(self, most: int) -> int | None:
        """The one with the fewest tasks, where that is less than ``most``."""
        loads = Counter(worker for _, worker, _ in self.given.values())
        least = min(range(len(self.actors)), key=lambda worker: loads[worker])
        return least if loads[least] < most else None

    def give(self, worker: int, number: int, task: Task) -> None:
        self.undone[number] = task
        self.given[self.actors[worker].do.remote(task)] = (number, worker, time.monotonic())

    def give_again(self) -> None:
        """Tasks that only one worker has, to those that have none."""
        holders = Counter(number for number, *_ in self.given.values())
        for number, task in self.undone.items():
            if holders[number] == 1 and (worker := self.free_worker(1)) is not None:
                self.give(worker, number, task)

    def result(self, reference: Any, number: int) -> Any:
        """LOST where its worker is dead and another has the task too."""
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self.ray.exceptions.RayActorError as error:
            if any(other == number for other, *_ in self.given.values()):
                return LOST
            raise OSError(why_it_died(str(error))) from error


def why_it_died(text: str) -> str:
    """A sentence from what Ray says of an actor that it gave up."""
    if "creation task" in text:
        last = text.strip().splitlines()[-1]
        return f"A worker could not be started ({last}): this package must be installed on every machine of the cluster."
    return f"A worker died {RETRIES + 1} times at the same batch, likely for want of memory: use a smaller --batch."


@contextmanager
def session(ray: Any, address: str | None, processors: int) -> Iterator[None]:
    """Ray, started here unless an address is given, and left or ended with the block. Where this process has joined one, that serves."""
    if ray.is_initialized():
        yield
        return
    room = {} if address else {"num_cpus": max(os.cpu_count() or 1, processors), "include_dashboard": False}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **room)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"There is no Ray cluster at {address!r} ({reason_of(error)}): leave --address out to use this machine."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def import_ray() -> Any:
    """Raises ModuleNotFoundError with the way out."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--engine ray needs ray: pip install 'uncertainty-nodes[distributed]'.") from error
    return ray
