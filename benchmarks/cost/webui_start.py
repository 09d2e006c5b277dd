"""What the extension adds to the start of a web UI: FORGE_PATH=... FORGE_PYTHON=... python benchmarks/cost/webui_start.py

Starts with the page, in turns with and without the extension, each until the web UI says that it has started. What counts is the processor
time that the process has used by then, since a machine that does other work changes it less than the seconds that pass. Pairs are
resampled for the interval. Needs Linux, which tells that time of another process.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from uncertainty_nodes.benchmarks.shared.common import write
from uncertainty_nodes.core.metrics.scores import bootstrap_interval

SUPPORT = Path(__file__).resolve().parents[2] / "tests" / "support"
sys.path[:0] = [str(SUPPORT / "webui"), str(SUPPORT / "comfyui")]

from forge_server import EXTENSIONS, WEB_UI, Forge, why_not  # noqa: E402

PAIRS = 12
OURS = "uncertainty-nodes"
STARTED = re.compile(r"Startup time: [\d.]+s.*")


class Starts:
    """Two data folders of one web UI, with one checkpoint; one has the extension."""

    def __init__(self, base: Path) -> None:
        self.base = base
        for name in ("checkpoints", "with", "without"):
            (base / name).mkdir()
        for name in ("with", "without"):
            (base / name / "checkpoints").symlink_to(base / "checkpoints", target_is_directory=True)

    def measure(self, with_extension: bool) -> float:
        """Processor seconds of one start."""
        folder = self.base / ("with" if with_extension else "without")
        extensions = {OURS: EXTENSIONS[OURS]} if with_extension else {}
        (folder / "forge.log").unlink(missing_ok=True)
        with Forge(folder, page=True, extensions=extensions) as forge:
            while not STARTED.search(forge.log()):
                time.sleep(0.05)
            assert forge.process is not None
            used = processor_seconds(forge.process.pid)
            present = any(script["name"] == "uncertainty" for script in forge.get("/sdapi/v1/script-info"))
            if present != with_extension:
                sys.exit(f"A start {folder.name} the extension did not show what it should:\n{forge.log()[-2000:]}")
        return used


def processor_seconds(pid: int) -> float:
    """Of a process and of those that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def figures_of(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    """pairs: processor seconds with and without the extension."""
    added = torch.tensor([one - other for one, other in pairs], dtype=torch.float64)

    def interval(statistic: Any) -> list[float]:
        return [round(value, 3) for value in bootstrap_interval(lambda sample: float(statistic(sample.tolist())), added, resamples=10000)]

    return {
        "pairs": len(pairs),
        "with": [round(one, 2) for one, _ in pairs],
        "without": [round(other, 2) for _, other in pairs],
        "median_added": round(statistics.median(added.tolist()), 3),
        "median_interval": interval(statistics.median),
        "mean_added": round(statistics.fmean(added.tolist()), 3),
        "mean_interval": interval(statistics.fmean),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of starts with and without the extension (default %(default)s)")
    count = parser.parse_args().pairs
    if reason := why_not():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as base:
        starts, pairs = Starts(Path(base)), []
        for extension in (True, False):  # warm up: files, and Python's compiled modules
            starts.measure(extension)
        for pair in range(count):
            order = (False, True) if pair % 2 else (True, False)
            taken = {extension: starts.measure(extension) for extension in order}
            pairs.append((taken[True], taken[False]))
            print(f"{pair + 1} of {count}: {taken[True]:.2f} s with the extension, {taken[False]:.2f} s without", flush=True)
    figures = {"web_ui": WEB_UI.value, **figures_of(pairs)}
    print(f"{figures}\nWrote {write('webui_start', figures)}")


if __name__ == "__main__":
    main()
