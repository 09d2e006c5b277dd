"""What each method of the filtering table costs: CPU seconds and peak memory of one small chunk, beside plain sampling of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from uncertainty_nodes.benchmarks.cost.speed import PeakMemory
from uncertainty_nodes.benchmarks.shared.common import clock
from uncertainty_nodes.benchmarks.shared.methods import METHODS, RECORDED, SAMPLING
from uncertainty_nodes.benchmarks.shared.pool import Lab

BATCH, SEED = 8, 99


def costs(lab: Lab, names: list[str]) -> dict[str, dict[str, float]]:
    """By method, an image's share, on the threads that torch has. A method that samples anew is charged for what it adds to plain sampling.

    seconds: of processor time. peak_mb: of tensors made and held at once, network excluded, for the whole chunk.
    """
    blank = lab.blank(SEED, 0, BATCH)
    plain = price(lambda: lab.sample(blank.noise, blank.labels))
    chunk = replace(blank, images=lab.sample(blank.noise, blank.labels))
    works: dict[str, Callable[[], Any]] = {name: lambda w=window: lab.recorded(chunk, (w,)) for name, window in RECORDED.items()}
    works |= {name: lambda n=name: METHODS[n](lab, chunk) for name in names}
    found = {"plain sampling": plain}
    for name, work in works.items():
        taken = price(work)
        if name in RECORDED or name in SAMPLING:
            taken["seconds"] -= plain["seconds"]
        found[name] = taken
    return {name: {kind: round(value, 4) for kind, value in taken.items()} for name, taken in found.items()}


def price(work: Callable[[], Any]) -> dict[str, float]:
    with PeakMemory() as memory, torch.no_grad():
        work()
    start = clock()
    work()
    return {"seconds": (clock() - start) / BATCH, "peak_mb": memory.peak / 2**20}
