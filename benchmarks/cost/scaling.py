"""How time grows with draws, members, batch, image size and network calls, and what is not network time: python benchmarks/cost/scaling.py

Processor time of one thread where there is no accelerator, so that other work on the machine does not count.
Law: time = a + b * calls, fitted over samplings of one batch with and without each feature. Overhead: share of the time
of a sampling that is spent outside the network, most of it the scheduler's and our own arithmetic.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.shared import methods, pool
from uncertainty_nodes.benchmarks.shared.common import clock, write
from uncertainty_nodes.benchmarks.shared.subject import OnSubject, Subject, digits
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions, EnsembleOptions, GuidanceMode, GuidanceOptions, StepWindow
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, attach, sample
from uncertainty_nodes.hosts.diffusers.ensemble.decu import decu
from uncertainty_nodes.hosts.diffusers.ensemble.members import TableMembers

STEPS = 10
ALWAYS = StepWindow(0.0, 1.0)


@dataclass
class NetworkClock:
    """Counts the rows and adds up the time inside the network, for one block: from its first layer to its last, since estimators
    call it without its own hooks."""

    rows: int = 0
    inside: float = 0.0
    since: float = 0.0

    @contextmanager
    def on(self, network: torch.nn.Module) -> Iterator[NetworkClock]:
        def enter(module: Any, args: Any) -> None:
            self.since = clock()

        def leave(module: Any, args: Any, output: Tensor) -> None:
            self.inside += clock() - self.since
            self.rows += len(output)

        handles = [network.time_proj.register_forward_pre_hook(enter), network.conv_out.register_forward_hook(leave)]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()


@dataclass(frozen=True)
class Lab(OnSubject):
    subject: Subject
    repeats: int

    def inputs(self, batch: int, size: int = 32) -> tuple[Tensor, Tensor]:
        device = next(self.network.parameters()).device
        noise = torch.randn(batch, 1, size, size, generator=torch.Generator().manual_seed(0))
        return noise.to(device), (torch.arange(batch) % CLASSES).to(device)

    def draw(self, batch: int, size: int = 32, **watched: Any) -> Callable[[], None]:
        noise, labels = self.inputs(batch, size)

        def work() -> None:
            with attach(self.network, self.scheduler, **watched) if watched else nullcontext():
                sample(self.network, self.scheduler, noise, labels, STEPS)

        return work

    def asked(self, method: str, batch: int) -> Callable[[], None]:
        """A method of the filtering table, on noise in place of images, which takes as long."""
        noise, labels = self.inputs(batch)
        lab = pool.Lab(self.subject, Path(), batch, STEPS)
        return lambda: methods.METHODS[method](lab, pool.Chunk(0, 0, noise, labels, noise))

    def ensemble(self, batch: int, count: int) -> Callable[[], None]:
        noise, labels = self.inputs(batch)
        whole = self.subject.ensemble
        members = TableMembers(self.network, replace(whole, members=whole.members[:count]), labels)
        return lambda: decu(self.network, self.scheduler, noise, members, STEPS, EnsembleOptions())

    def measured(self, work: Callable[[], None], batch: int) -> dict[str, float]:
        """Median over repeats, after one to warm up; calls and seconds per image."""
        work()
        taken, shares = [], []
        for _ in range(self.repeats):
            with NetworkClock().on(self.network) as network:
                start = clock()
                work()
                taken.append(clock() - start)
            shares.append(1 - network.inside / taken[-1])
        return {"nfe": network.rows / batch, "seconds": round(median(taken) / batch, 5), "outside_network": round(median(shares), 4)}


def record(samples: int = 5, micro_batch: int = 1) -> dict[str, Any]:
    return {"record": AleatoricOptions(draws=DrawOptions(samples=samples, micro_batch=micro_batch), window=ALWAYS)}


def guide(mode: GuidanceMode, samples: int = 3) -> dict[str, Any]:
    return {"guide": GuidanceOptions(draws=DrawOptions(samples=samples), mode=mode)}


def features(lab: Lab, batch: int) -> dict[str, Callable[[], None]]:
    return {
        "plain": lab.draw(batch),
        "recording, 2 draws at every step": lab.draw(batch, **record(2)),
        "recording, 5 draws at every step": lab.draw(batch, **record(5)),
        "guidance forward, 2 draws": lab.draw(batch, **guide(GuidanceMode.FORWARD, 2)),
        "guidance forward, 3 draws": lab.draw(batch, **guide(GuidanceMode.FORWARD)),
        "guidance posterior, 3 draws": lab.draw(batch, **guide(GuidanceMode.POSTERIOR)),
        "ensemble of 5, default branch": lab.ensemble(batch, 5),
    } | {name: lab.asked(name, batch) for name in ("prompt information", "MC dropout", "BayesDiff", "generative uncertainty")}


def law(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """a and b of seconds = a + b * nfe by least squares, and the share of variance that they explain."""
    nfe, seconds = (np.array([row[key] for row in rows.values()]) for key in ("nfe", "seconds"))
    b, a = np.polyfit(nfe, seconds, 1)
    left = seconds - a - b * nfe
    return {"a": round(float(a), 5), "b": round(float(b), 6), "r_squared": round(float(1 - left.var() / seconds.var()), 5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    torch.set_num_threads(1)
    lab = Lab(digits(a.device), a.repeats)
    by_feature = {name: lab.measured(work, a.batch) for name, work in features(lab, a.batch).items()}
    found = {
        "steps": STEPS,
        "batch": a.batch,
        "features": by_feature,
        "law": law(by_feature),
        "by_draws": {m: lab.measured(lab.draw(a.batch, **record(m)), a.batch) for m in (2, 4, 8)},
        "by_draws_in_one_call": {m: lab.measured(lab.draw(a.batch, **record(m, micro_batch=m)), a.batch) for m in (2, 4, 8)},
        "by_members": {k: lab.measured(lab.ensemble(a.batch, k), a.batch) for k in (2, 3, 5)},
        "by_batch": {b: lab.measured(lab.draw(b, **record(2)), b) for b in (1, 4, 16)},
        "by_size": {s: lab.measured(lab.draw(a.batch, s, **record(2)), a.batch) for s in (32, 64)},
    }
    for name, row in by_feature.items():
        print(f"{name:35s} {row}")
    print(f"{found['law']}\nWrote {write('scaling', found)}")


if __name__ == "__main__":
    main()
