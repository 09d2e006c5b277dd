"""What Ray's workers bring and cost, and that nothing is lost when they or the driver are killed: python benchmarks/cost/workers.py

One job of generate by one process and by ``--workers`` of Ray, torch on one thread in each: the ratio of their paces in the second half,
when all workers run; the processor time that an image costs either, which tells the same on a machine that has other work; and the fixed
cost of starting, in seconds and in images that one process draws meanwhile. Then the same job with a worker, and again with the driver,
killed at random moments: every image must be there once, bit for bit as one process draws it. Needs ray and psutil.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from uncertainty_nodes.benchmarks.shared.common import write
from uncertainty_nodes.cli.generate.options import GenerateOptions
from uncertainty_nodes.cli.generate.run import run
from uncertainty_nodes.cli.shared.engine import OneProcess
from uncertainty_nodes.cli.shared.ledger import Ledger
from uncertainty_nodes.cli.shared.ray_engine import RayEngine
from uncertainty_nodes.core.options import SamplingScore

BATCH, STEPS, SAMPLES = 4, 8, 2


class Timed:
    """An engine that notes when each result came, and what processor time all processes of the job had used by then."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.elsewhere = engine, engine.elsewhere
        self.moments: list[float] = []
        self.busy: list[float] = []

    def run(self, load: Callable[[], Any], tasks: Iterator[Any]) -> Iterator[Any]:
        self.moments, self.busy = [time.perf_counter()], [busy_seconds()]
        for result in self.engine.run(load, tasks):
            self.moments.append(time.perf_counter())
            self.busy.append(busy_seconds())
            yield result

    @property
    def pace(self) -> float:
        """Batches a second in the second half."""
        half = len(self.moments) // 2
        return (len(self.moments) - 1 - half) / (self.moments[-1] - self.moments[half])

    @property
    def processor(self) -> float:
        """Seconds a batch in the second half."""
        half = len(self.busy) // 2
        return (self.busy[-1] - self.busy[half]) / (len(self.busy) - 1 - half)

    @property
    def start(self) -> float:
        return self.moments[1] - self.moments[0]


def busy_seconds() -> float:
    """Of this process and all that descend from it."""
    total = time.process_time()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def options(out: Path, images: int) -> GenerateOptions:
    return GenerateOptions(SamplingScore.NOISE, images=images, steps=STEPS, samples=SAMPLES, batch=BATCH, out=out)


def outcome(out: Path) -> dict[str, Any]:
    """All that is known of each image but the seconds, and its pixels."""
    with Ledger.find(out) as ledger:
        rows = list(ledger.records())
    assert len(rows) == len({row["image"] for row in rows}) == len(list(out.rglob("*.png")))
    return {row["file"]: ({k: v for k, v in row.items() if k != "seconds"}, Image.open(out / row["file"]).tobytes()) for row in rows}


def worker_processes() -> list[int]:
    """Of Ray's actors that descend from this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "".join(process.cmdline()[:1]).startswith("ray::ModelActor"):
                found.append(process.pid)
    return found


def kill_workers(out: Path, images: int, workers: int, kills: int) -> int:
    """Returns how many were killed before the job was done."""
    moments, over, killed = random.Random(0), threading.Event(), []

    def assail() -> None:
        while len(killed) < kills and not over.wait(moments.uniform(0, 6)):
            if processes := worker_processes():
                os.kill(moments.choice(processes), signal.SIGKILL)
                killed.append(True)

    thread = threading.Thread(target=assail)
    thread.start()
    try:
        run(options(out, images), RayEngine(workers, threads=1))
    finally:
        over.set()
        thread.join()
    return len(killed)


def kill_drivers(out: Path, images: int, workers: int, kills: int, seconds: float) -> int:
    command = [sys.executable, "-c", "import sys; from uncertainty_nodes.cli import main; sys.exit(main())", "generate"]
    asked = {"-n": images, "--method": "noise", "--steps": STEPS, "--samples": SAMPLES, "--batch": BATCH, "--out": out}
    command += [str(word) for pair in (asked | {"--engine": "ray", "--workers": workers, "--threads": 1}).items() for word in pair]
    moments, killed, before = random.Random(1), 0, 0
    for _ in range(kills):
        driver = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            driver.wait(moments.uniform(0.2 * seconds, 2 * seconds))
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait()
            killed += 1
        if (out / "results.sqlite").exists():
            with Ledger.find(out) as ledger:
                assert len(ledger) >= before
                before = len(ledger)
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=10, help="of workers, and again of drivers; 0: the paces alone")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        one, many = Timed(OneProcess(1)), Timed(RayEngine(a.workers, threads=1))
        for name, engine in (("one", one), ("many", many)):
            run(options(root / name, a.images), engine)
        expected = outcome(root / "one")
        found = {
            "images": a.images,
            "workers": a.workers,
            "processors": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "pace_over_one_process": round(many.pace / one.pace, 3),
            "processor_an_image": {"one process": round(one.processor / BATCH, 4), "ray": round(many.processor / BATCH, 4)},
            "seconds_to_first_result": {"one process": round(one.start, 2), "ray": round(many.start, 2)},
            "processor_to_first_result": {"one process": round(one.busy[1] - one.busy[0], 2), "ray": round(many.busy[1] - many.busy[0], 2)},
            "start_in_images_of_one_process": round((many.start - one.start) * one.pace * BATCH, 1),
            "same_bits": outcome(root / "many") == expected,
        }
        print(found, flush=True)
        if a.kills:
            found["workers_killed"] = kill_workers(root / "workers", a.images, a.workers, a.kills)
            found["same_bits_after_killed_workers"] = outcome(root / "workers") == expected
            print(found, flush=True)
            found["drivers_killed"] = kill_drivers(root / "drivers", a.images, a.workers, a.kills, many.start)
            found["same_bits_after_killed_drivers"] = outcome(root / "drivers") == expected
    print(f"{found}\nWrote {write('workers', found)}")


if __name__ == "__main__":
    main()
