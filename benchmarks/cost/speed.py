"""What estimation and guidance cost, as ratios within one run: python benchmarks/cost/speed.py

Time: sampling with estimation over sampling without, median of paired runs, beside the ratio of network calls;
and over a straightforward scheduler that asks the network once for every draw, at one image and at several.
Memory: peak of live tensors in a guided step over that of a plain step. --device cuda writes speed_gpu.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from uncertainty_nodes.benchmarks.shared.common import write
from uncertainty_nodes.benchmarks.shared.straightforward import StraightforwardScheduler
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions, GuidanceMode, GuidanceOptions, StepWindow
from uncertainty_nodes.hosts.diffusers.demo import attach, load_demo, sample, starting_noise

STEPS = 50


class PeakMemory(TorchDispatchMode):
    """Peak of the bytes held by live tensor storages made inside the block; works on any device, unlike an allocator's counter."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak, self.known = 0, 0, set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def estimation_time(batch: int, pairs: int, device: str) -> dict[str, Any]:
    """Paired runs, their order alternating, so that a drifting machine favours neither."""
    network, scheduler = load_demo(device)
    noise, labels = starting_noise(batch, 0).to(device), (torch.arange(batch) % 10).to(device)
    runs = []

    def draw(watched: bool) -> None:
        block = attach(network, scheduler, record=AleatoricOptions()) if watched else nullcontext()
        with block as run:
            sample(network, scheduler, noise, labels, STEPS)
        runs.append(run)

    draw(True)  # warm up
    ratios = []
    for pair in range(pairs):
        order = [False, True] if pair % 2 == 0 else [True, False]
        taken = {watched: seconds(lambda w=watched: draw(w)) for watched in order}
        ratios.append(taken[True] / taken[False])
    run = next(run for run in runs if run is not None)
    nfe_sampling, nfe_estimation = run.network_rows / batch, run.result().nfe
    calls = 1 + nfe_estimation / nfe_sampling
    median = statistics.median(ratios)
    return {
        "batch": batch,
        "steps": STEPS,
        "nfe_sampling": nfe_sampling,
        "nfe_estimation": nfe_estimation,
        "call_ratio": calls,
        "time_ratios": [round(r, 4) for r in ratios],
        "time_ratio_median": round(median, 4),
        "time_over_calls": round(median / calls, 4),
    }


def beside_straightforward(batch: int, pairs: int, device: str) -> dict[str, Any]:
    """Our time over that of a scheduler that asks once for every draw, at the same steps, in turn; each also over plain sampling."""
    network, scheduler = load_demo(device)
    noise, labels = starting_noise(batch, 0).to(device), (torch.arange(batch) % 10).to(device)
    with attach(network, scheduler, record=AleatoricOptions()) as run:
        sample(network, scheduler, noise, labels, STEPS)
    plain = DDIMScheduler.from_config(scheduler.config)
    theirs = StraightforwardScheduler.from_config(scheduler.config)
    measured = {int(t) for t in scheduler.timesteps if any(abs(level(scheduler, t) - s) < 1e-6 for s in run.result().sigmas.tolist())}
    theirs.watch(network, labels, AleatoricOptions().draws.samples, measured)

    def ours() -> None:
        with attach(network, scheduler, record=AleatoricOptions()):
            sample(network, scheduler, noise, labels, STEPS)

    works = {
        "plain": lambda: sample(network, plain, noise, labels, STEPS),
        "ours": ours,
        "straightforward": lambda: sample(network, theirs, noise, labels, STEPS),
    }
    for work in works.values():
        work()  # warm up
    assert theirs.calls == run.result().nfe, "both must ask the network for the same rows"
    ratios, over_plain = [], {"ours": [], "straightforward": []}
    for turn in range(pairs):
        order = list(works)[turn % 3 :] + list(works)[: turn % 3]
        taken = {name: seconds(works[name]) for name in order}
        ratios.append(taken["ours"] / taken["straightforward"])
        for name in over_plain:
            over_plain[name].append(taken[name] / taken["plain"])
    return {
        "batch": batch,
        "draws": AleatoricOptions().draws.samples,
        "measured_steps": len(measured),
        "time_ratios": [round(r, 4) for r in ratios],
        "time_ratio_median": round(statistics.median(ratios), 4),
        "over_plain_median": {name: round(statistics.median(values), 4) for name, values in over_plain.items()},
    }


def level(scheduler: DDIMScheduler, t: torch.Tensor) -> float:
    """The noise level of a timestep, sqrt(1 - alpha^2)."""
    return float((1 - scheduler.alphas_cumprod[t]).sqrt())


def step_memory(batch: int, device: str) -> dict[str, Any]:
    """Peak of one sampling step, plain and guided in each mode, one draw a call."""
    network, scheduler = load_demo(device)
    noise, labels = starting_noise(batch, 0).to(device), (torch.arange(batch) % 10).to(device)

    def peak(block: AbstractContextManager[Any]) -> int:
        with PeakMemory() as memory:
            sample(network, scheduler, noise, labels, 1, watch=block)
        return memory.peak

    def guided(mode: GuidanceMode, checkpoint: bool = False) -> int:
        options = GuidanceOptions(draws=DrawOptions(samples=5, micro_batch=1), window=StepWindow(), mode=mode, checkpoint=checkpoint)
        return peak(attach(network, scheduler, guide=options))

    plain = peak(nullcontext())
    peaks = {mode.value: guided(mode) for mode in GuidanceMode} | {"autograd checkpointed": guided(GuidanceMode.AUTOGRAD, True)}
    return {"batch": batch, "plain_bytes": plain, "ratios": {name: round(value / plain, 3) for name, value in peaks.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    figures = {
        "estimation_time": estimation_time(a.batch, a.pairs, a.device),
        "beside_straightforward": [beside_straightforward(batch, a.pairs, a.device) for batch in sorted({1, a.batch})],
        "step_memory": step_memory(a.batch, a.device),
    }
    print(f"Estimation: {figures['estimation_time']['time_over_calls']} times the ratio of network calls.")
    for row in figures["beside_straightforward"]:
        print(f"Beside one call for every draw, {row['batch']} images at once: {row['time_ratio_median']} times as long.")
    print(f"Memory of a step, over a plain one: {figures['step_memory']['ratios']}")
    print(f"Wrote {write('speed' if a.device == 'cpu' else 'speed_gpu', figures)}")


if __name__ == "__main__":
    main()
