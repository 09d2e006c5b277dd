"""What Record Uncertainty costs inside a real ComfyUI: COMFYUI_PATH=... COMFYUI_PYTHON=... python benchmarks/cost/comfyui.py

KSampler on the demo model with and without recording, paired runs of alternating order on one server; time over the
ratio of model calls.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from uncertainty_nodes.benchmarks.shared.common import write

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support" / "comfyui"))

from comfy_graph import Graph  # noqa: E402
from comfy_installations import installations  # noqa: E402
from comfy_server import Server  # noqa: E402
from uncertainty_nodes.core.options import AleatoricOptions  # noqa: E402

BATCH, STEPS, PAIRS = 8, 40, 7
RECORD = AleatoricOptions()


def sampling(recorded: bool, seed: int) -> Graph:
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=BATCH)
    window = {"start_percent": RECORD.window.start, "end_percent": RECORD.window.end, "every": 1}
    settings = {"samples": RECORD.draws.samples, **window, "quantity": RECORD.quantity.value, "seed": 0}
    model = g.node("UQ_RecordUncertainty", model=demo[0], **settings)[0] if recorded else demo[0]
    wires = {"model": model, "positive": demo[1], "negative": demo[2], "latent_image": demo[4]}
    run = {"seed": seed, "steps": STEPS, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    latent = g.node("KSampler", **wires, **run)
    g.node("SaveLatent", samples=latent, filename_prefix="speed")
    return g


def seconds(comfy: Server, recorded: bool, seed: int) -> float:
    start = time.perf_counter()
    comfy.run(sampling(recorded, seed))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of runs with and without recording (default %(default)s)")
    pairs, copy = parser.parse_args().pairs, installations()[0]
    if reason := copy.why_not():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as base, Server(Path(base), copy=copy) as comfy:
        seconds(comfy, True, 0)  # warm up
        ratios = []
        for pair in range(1, pairs + 1):
            order = (False, True) if pair % 2 else (True, False)
            taken = {recorded: seconds(comfy, recorded, 10 * pair + recorded) for recorded in order}
            ratios.append(taken[True] / taken[False])
        log = comfy.log()
    # the schedule "normal" is even in the fraction of the schedule that has passed
    measured = sum(RECORD.window.start <= i / (STEPS - 1) <= RECORD.window.end for i in range(STEPS))
    calls = 1 + measured * RECORD.draws.samples / STEPS
    median = statistics.median(ratios)
    figures = {
        "batch": BATCH,
        "steps": STEPS,
        "call_ratio": calls,
        "time_ratios": [round(r, 4) for r in ratios],
        "time_over_calls": round(median / calls, 4),
        "comfyui": next((line.split(":")[-1].strip() for line in log.splitlines() if "ComfyUI version" in line), "unknown"),
    }
    print(f"{figures}\nWrote {write('comfyui', figures)}")


if __name__ == "__main__":
    main()
