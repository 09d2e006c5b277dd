"""A command that is killed with SIGKILL and begun again, as a script of its own: the children that are killed are forked from a process
that has loaded all code and used none of it, so that each begins in no time.

python killed_jobs.py COMMAND ..: reads, one a line, after how many seconds to kill, "inf" for never, or "change N" for right before the
Nth change to a file or commit to a database; after each run prints how it ended, how long it took and how many changes it began.
"""

from __future__ import annotations

import math
import mmap
import os
import signal
import sqlite3
import struct
import sys
import time
from functools import partial

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
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.utime"}
count = mmap.mmap(-1, 8)  # shared with the child


def watch_changes(last: float) -> None:
    """Counts what is about to change a file, and dies before the ``last``."""

    def change() -> None:
        number = struct.unpack("q", count[:8])[0] + 1
        count[:8] = struct.pack("q", number)
        if number >= last:
            os.kill(os.getpid(), signal.SIGKILL)

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
            if statement == "COMMIT":
                change()
            return super().execute(statement, *values)

    def watch(event: str, values: tuple) -> None:
        if event in CHANGES or (event == "open" and values[2] & (os.O_WRONLY | os.O_RDWR) and not isinstance(values[0], int)):
            change()

    sqlite3.connect = partial(sqlite3.connect, factory=Connection)
    sys.addaudithook(watch)


def start(arguments: list[str], last_change: float) -> int:
    count[:8] = struct.pack("q", 0)
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        os.close(1)
        watch_changes(last_change)
        os._exit(main(arguments))
    return child


def wait(child: int, seconds: float) -> tuple[str, float]:
    """How it ended, and when: a child that takes longer is killed."""
    begun = time.perf_counter()
    while True:
        took = time.perf_counter() - begun
        if took >= seconds:
            os.kill(child, signal.SIGKILL)
        ended, status = os.waitpid(child, 0 if took >= seconds else os.WNOHANG)
        if ended:
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            return "killed" if killed else f"ended with {os.waitstatus_to_exitcode(status)}", took
        time.sleep(min(PAUSE, seconds - took) if math.isfinite(seconds) else PAUSE)


def run() -> None:
    for line in sys.stdin:
        word, _, number = line.strip().rpartition(" ")
        seconds, last_change = (math.inf, float(number)) if word == "change" else (float(number), math.inf)
        how, took = wait(start(sys.argv[1:], last_change), seconds)
        print(how, took, struct.unpack("q", count[:8])[0], sep="\t", flush=True)  # noqa: T201


if __name__ == "__main__":
    run()
