"""What the Laplace fit costs: python benchmarks/cost/laplace_speed.py

Time: training samples per second of the fit, over the rate of one forward and one backward pass of the same network for the same
batches; medians of paired runs, processor seconds. Memory: peak of live tensors while N samples are fitted, and 4 N.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.cost.speed import PeakMemory
from uncertainty_nodes.benchmarks.shared.common import clock, write
from uncertainty_nodes.core.demo.extractor import load_reference
from uncertainty_nodes.core.denoiser import Process, add_noise
from uncertainty_nodes.core.options import Covariance, LaplaceOptions
from uncertainty_nodes.hosts.diffusers.demo import load_demo
from uncertainty_nodes.hosts.diffusers.last_layer.laplace import fit_laplace, network_training


def batches(count: int, size: int) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Real digits, again from the first when there are no more."""
    reference = load_reference()
    pick = torch.arange(count) % len(reference.labels)
    return [(reference.images[p], {"class_labels": reference.labels[p]}) for p in pick.split(size)]


def forward_backward(data: list[tuple[Tensor, dict[str, Tensor]]]) -> None:
    """The training loss and its gradient for every weight, as one training step has it."""
    network, scheduler = load_demo()
    network.requires_grad_(True)
    terms = network_training(network, scheduler)
    generator = torch.Generator().manual_seed(0)
    for clean, cond in data:
        sigma = terms.levels[torch.randint(len(terms.levels), clean.shape[:1], generator=generator)]
        noise = torch.randn(clean.shape, generator=generator)
        output = terms.predict(add_noise(clean, noise, sigma, Process.VP), sigma, cond)
        (output - noise).square().sum().backward()


def rates(count: int, size: int, pairs: int) -> dict[str, Any]:
    data, result = batches(count, size), {"samples": count, "batch": size}
    for covariance in Covariance:
        options, seconds = LaplaceOptions(covariance), {"fit": [], "plain": []}
        for pair in range(pairs + 1):  # the first warms up
            jobs = {"fit": lambda options=options: fit_laplace(*load_demo(), data, options), "plain": lambda: forward_backward(data)}
            for name in ("fit", "plain") if pair % 2 else ("plain", "fit"):
                start = clock()
                jobs[name]()
                seconds[name].append(clock() - start)
        ratios = [plain / taken for plain, taken in zip(seconds["plain"][1:], seconds["fit"][1:], strict=True)]
        result[covariance.value] = {
            "samples_per_second": {name: round(count / statistics.median(taken[1:]), 1) for name, taken in seconds.items()},
            "rate_over_forward_backward": round(statistics.median(ratios), 3),
            "ratios": [round(r, 3) for r in ratios],
        }
    return result


def memory(count: int, size: int) -> dict[str, Any]:
    network, scheduler = load_demo()
    peaks = {}
    for covariance in Covariance:
        peaks[covariance.value] = {}
        for n in (count, 4 * count):
            data = batches(n, size)
            with PeakMemory() as peak:
                fit_laplace(network, scheduler, data, LaplaceOptions(covariance))
            peaks[covariance.value][str(n)] = peak.peak
    return {"batch": size, "peak_bytes": peaks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", default="laplace_speed", help="name of the results")
    a = parser.parse_args()
    torch.set_num_threads(1)
    figures = {"time": rates(a.samples, a.batch, a.pairs), "memory": memory(a.samples // 4, a.batch // 4)}
    for name in (c.value for c in Covariance):
        print(f"{name}: {figures['time'][name]['rate_over_forward_backward']} times the rate of forward + backward")
    print(f"Wrote {write(a.out, figures)}")


if __name__ == "__main__":
    main()
