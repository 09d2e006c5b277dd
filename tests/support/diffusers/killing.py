"""Kills a command again and again: at moments that are spread over as long as it takes, and right before what changes a file."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import killed_jobs
from uncertainty_nodes.cli.shared.ledger import Ledger

KILLS, KILLS_AT_CHANGES = 20, 10
MOST_RUNS = 6 * KILLS  # those of a job that is nearly done end before they are killed
INFINITE = float("inf")

Run = Callable[[str | float], tuple[bool, float, int]]
"""After how many seconds, or "change N": whether it was killed, what it took, how many changes to files it began."""


def kill_again_and_again(arguments: list, check: Callable[[], None], at_end: Callable[[], None], clear: Callable[[], None]) -> None:
    """Each time at a random share of what one run took that nobody stopped; then at changes to files from the first to the last.

    check: after every kill, while nothing runs; at_end: when a run came to its end, killed before or not; clear: then, so that the next
    run begins anew.
    """
    with job(arguments) as run:
        _, whole, changes = run(INFINITE)
        at_end()
        clear()
        kill_at_moments(run, whole, check, at_end, clear)
        kill_at_changes(run, changes, check, at_end, clear)


@contextmanager
def job(arguments: list) -> Iterator[Run]:
    command = [sys.executable, killed_jobs.__file__, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdin and process.stdout

        def run(end: str | float) -> tuple[bool, float, int]:
            print(end, file=process.stdin, flush=True)  # noqa: T201  to the job
            how, took, changes = process.stdout.readline().split("\t")
            assert how in ("killed", "ended with 0")
            return how == "killed", float(took), int(changes)

        yield run


def kill_at_moments(run: Run, whole: float, check: Callable[[], None], at_end: Callable[[], None], clear: Callable[[], None]) -> None:
    moments = random.Random(0)
    killed = runs = 0
    while killed < KILLS:
        runs += 1
        assert runs <= MOST_RUNS, f"only {killed} of {runs} runs were killed before their end"
        if run(whole * moments.uniform(0.02, 0.98))[0]:
            killed += 1
            check()
        else:
            at_end()
            clear()
    run(INFINITE)
    at_end()


def kill_at_changes(run: Run, changes: int, check: Callable[[], None], at_end: Callable[[], None], clear: Callable[[], None]) -> None:
    """Evenly spread among all; each time from the beginning, and then to the end."""
    kills = min(changes, KILLS_AT_CHANGES)
    for i in range(kills):
        clear()
        killed, *_ = run(f"change {1 + i * changes // kills}")
        assert killed
        check()
        run(INFINITE)
        at_end()


def rows_of(folder: Path) -> dict[str, dict]:
    """All that is known of each image but the seconds."""
    with Ledger.find(folder) as ledger:
        return {ledger.form.key_of(row): {k: v for k, v in row.items() if k != "seconds"} for row in ledger.records()}


def visible_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
