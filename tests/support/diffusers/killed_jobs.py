"""A command that is killed with SIGKILL at random moments and begun again, as a script of its own: the children that are killed are
forked from a process that has loaded all code and used none of it, so that each begins in no time.

python killed_jobs.py KILLS SECONDS SEED COMMAND ..: prints a line after each kill, waits for a line before it goes on, and lets the
last run end.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import torch

from uncertainty_nodes.cli import main
from uncertainty_nodes.cli.fit_laplace import run as fit_laplace  # noqa: F401  loaded before the first fork
from uncertainty_nodes.cli.generate import run as generate  # noqa: F401
from uncertainty_nodes.cli.score import run as score  # noqa: F401
from uncertainty_nodes.cli.train_ensemble import run as train_ensemble  # noqa: F401


def start(arguments: list[str]) -> int:
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        os.close(1)
        os._exit(main(arguments))
    return child


def run() -> int:
    kills, seconds, seed, *arguments = sys.argv[1:]
    moments = random.Random(int(seed))
    for _ in range(int(kills)):
        child = start(arguments)
        time.sleep(moments.uniform(0, float(seconds)))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else f"ended with {os.WEXITSTATUS(status)}", flush=True)  # noqa: T201
        sys.stdin.readline()
    return os.WEXITSTATUS(os.waitpid(start(arguments), 0)[1])


if __name__ == "__main__":
    sys.exit(run())
