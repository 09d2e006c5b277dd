"""Kills a command again and again, at moments that are spread over as long as it takes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import killed_jobs
from uncertainty_nodes.cli.shared.ledger import Ledger

KILLS = 20
MOST_RUNS = 6 * KILLS  # those of a job that is nearly done end before they are killed


def kill_again_and_again(arguments: list, check: Callable[[], None], at_end: Callable[[], None], clear: Callable[[], None]) -> None:
    """KILLS times, each at a random share of what one run took that nobody stopped.

    check: after every kill, while nothing runs; at_end: when a run came to its end, killed before or not; clear: then, so that the next
    run begins anew.
    """
    command = [sys.executable, killed_jobs.__file__, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    moments = random.Random(0)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as job:
        assert job.stdin and job.stdout

        def run(seconds: float) -> tuple[str, float]:
            print(seconds, file=job.stdin, flush=True)  # noqa: T201  to the job
            how, took = job.stdout.readline().split("\t")
            assert how in ("killed", "ended with 0")
            return how, float(took)

        _, whole = run(float("inf"))
        at_end()
        clear()
        killed = runs = 0
        while killed < KILLS:
            runs += 1
            assert runs <= MOST_RUNS, f"only {killed} of {runs} runs were killed before their end"
            how, _ = run(whole * moments.uniform(0.02, 0.98))
            if how == "killed":
                killed += 1
                check()
            else:
                at_end()
                clear()
        run(float("inf"))
        at_end()


def rows_of(folder: Path) -> dict[str, dict]:
    """All that is known of each image but the seconds."""
    with Ledger.find(folder) as ledger:
        return {ledger.form.key_of(row): {k: v for k, v in row.items() if k != "seconds"} for row in ledger.records()}


def visible_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
