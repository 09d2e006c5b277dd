"""A job's batches on Ray's actors, each with a model of its own: on this machine, or on the cluster at an address.

Ray does all that a scheduler does: it places actors, starts them anew when a process or a machine dies, and asks them again for what
was lost. Nothing is lost or doubled by that, since an actor writes no file: what it made comes to the process that was started by the
user, which writes it as if it had made it itself. A task depends on nothing but itself, so that its result is the same wherever it runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Generic

import torch

from .engine import Done, Task

AHEAD = 2  # tasks for each worker: one that it works at, one that waits for it
RETRIES = 5  # of a task whose worker died, before it is taken to be what kills them
END: Any = object()


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
        from ray.util import ActorPool

        with session(ray, self.address, self.workers * self.threads):
            actors = self.start_actors(ray, load)
            try:
                yield from work_off(ray, ActorPool(actors), chain([first], tasks), AHEAD * len(actors))
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


def work_off(ray: Any, pool: Any, tasks: Iterator[Any], ahead: int) -> Iterator[Any]:
    """Results as they come, with at most ``ahead`` tasks begun whose results were not asked for."""
    begun, task = 0, None
    while True:
        while begun < ahead and task is not END and (task := next(tasks, END)) not in (None, END):
            pool.submit(lambda actor, value: actor.do.remote(value), task)
            begun += 1
        if not begun:
            return
        try:
            result = pool.get_next_unordered()
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayActorError as error:
            raise OSError(why_it_died(str(error))) from error
        begun -= 1
        yield result


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
        reason = " ".join(str(error).split())
        raise ValueError(f"There is no Ray cluster at {address!r} ({reason}): leave --address out to use this machine.") from error
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
