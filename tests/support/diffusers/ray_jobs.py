"""Ray for tests, and the processes in which its actors work."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from uncertainty_nodes.cli.shared import ray_engine

RUNS = ["--engine", "ray", "--workers", 2]
LONGEST_PAUSE = 4.0  # seconds between two kills


@contextmanager
def ray_session(*modules: str) -> Iterator:
    """modules: of tests, which workers can't import."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
    for name in modules:
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])
    with ray_engine.session(ray_engine.import_ray(), None, 2):
        yield ray


def worker_processes() -> list[int]:
    """Of Ray's actors that descend from this process."""
    import psutil  # accelerate brings it

    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "".join(process.cmdline()[:1]).startswith("ray::ModelActor"):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@contextmanager
def workers_killed(kills: int, seed: int = 0) -> Iterator[list[int]]:
    """Inside the block one of them is killed at random moments; yields those that were."""
    moments, over, killed = random.Random(seed), threading.Event(), []

    def assail() -> None:
        while len(killed) < kills and not over.wait(moments.uniform(0, LONGEST_PAUSE)):
            if processes := worker_processes():
                killed.append(moments.choice(processes))
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=assail)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()
