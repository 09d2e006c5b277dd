"""A command that is killed with SIGKILL after so many seconds and begun again, as a script of its own: the children that are killed are
forked from a process that has loaded all code and used none of it, so that each begins in no time.

python killed_jobs.py COMMAND ..: reads seconds, one a line, "inf" for as long as it takes; after each run prints how it ended and how
long it took.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time

import torch

from uncertainty_nodes.cli import main
from uncertainty_nodes.cli.demo import run as demo  # noqa: F401  loaded before the first fork
from uncertainty_nodes.cli.export import run as export  # noqa: F401
from uncertainty_nodes.cli.fit_laplace import run as fit_laplace  # noqa: F401
from uncertainty_nodes.cli.generate import run as generate  # noqa: F401
from uncertainty_nodes.cli.report import run as report  # noqa: F401
from uncertainty_nodes.cli.score import run as score  # noqa: F401
from uncertainty_nodes.cli.sort import run as sort  # noqa: F401
from uncertainty_nodes.cli.train_ensemble import run as train_ensemble  # noqa: F401

PAUSE = 0.002


def start(arguments: list[str]) -> int:
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        os.close(1)
        os._exit(main(arguments))
    return child


def wait(child: int, seconds: float) -> tuple[str, float]:
    """How it ended, and when: a child that takes longer is killed."""
    begun = time.perf_counter()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        took = time.perf_counter() - begun
        if ended:
            return f"ended with {os.waitstatus_to_exitcode(status)}", took
        if took >= seconds:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            return "killed" if os.WIFSIGNALED(status) else f"ended with {os.WEXITSTATUS(status)}", took
        time.sleep(min(PAUSE, seconds - took) if math.isfinite(seconds) else PAUSE)


def run() -> None:
    for line in sys.stdin:
        how, took = wait(start(sys.argv[1:]), float(line))
        print(how, took, sep="\t", flush=True)  # noqa: T201


if __name__ == "__main__":
    run()
