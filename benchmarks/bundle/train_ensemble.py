"""Train the bundled ensemble: python benchmarks/bundle/train_ensemble.py mnist_train.npz --out out/ensemble

Five class-embedding tables for the demo model, whose every other weight stays as it is. Classes are cut down to 1, 10 or 100 %
of their digits, and each table has its own bootstrap of what is left. Stops and resumes: a checkpoint every 25 steps. The
finished file goes to OUT/ensemble.safetensors. About 15 minutes of one core. --turn gives the shares to other digits.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from uncertainty_nodes.core.demo.extractor import digits_to_images
from uncertainty_nodes.core.ensemble.bootstrap import limit_classes
from uncertainty_nodes.core.options import EnsembleTrainingOptions
from uncertainty_nodes.hosts.diffusers.demo import load_demo
from uncertainty_nodes.hosts.diffusers.ensemble.train import TrainingPlan, train_tables

SHARES = (0.01, 0.1, 1.0, 1.0, 0.01, 0.1, 1.0, 1.0, 0.01, 0.1)  # of the digits 0 to 9


def cut(labels: Tensor, turn: int) -> tuple[Tensor, list[int]]:
    """The rows that stay, and how many of each class."""
    shares = [SHARES[(c - turn) % len(SHARES)] for c in range(len(SHARES))]
    counts = {c: round(int((labels == c).sum()) * share) for c, share in enumerate(shares)}
    return limit_classes(labels, counts), list(counts.values())


def digest(network: nn.Module) -> str:
    """SHA-256 of all weights."""
    found = hashlib.sha256()
    for name, weight in network.state_dict().items():
        found.update(name.encode() + weight.cpu().numpy().tobytes())
    return found.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="mnist_train.npz, with x (N, 28, 28) uint8 and y (N,)")
    parser.add_argument("--out", type=Path, default=Path("out/ensemble"))
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--turn", type=int, default=0, help="by how many digits the shares are moved on")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    with np.load(a.data) as data:
        digits, labels = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    rows, counts = cut(labels, a.turn)
    network, scheduler = load_demo()
    options, before = EnsembleTrainingOptions(a.steps, a.batch, seed=a.seed), digest(network)
    with tqdm(total=a.members * a.steps, unit="step") as bar:

        def progress(member: int, step: int, loss: float) -> None:
            bar.n = member * a.steps + step
            bar.set_postfix(loss=f"{loss:.4f}")

        plan = TrainingPlan(a.members, options, checkpoint=a.out / "checkpoint.safetensors", progress=progress)
        made = train_tables(network, scheduler, digits_to_images(digits[rows]), labels[rows], plan)
    if digest(network) != before:
        raise RuntimeError("The training has moved weights that it should not.")
    said = {"class_counts": ", ".join(map(str, counts)), "frozen_weights": before}
    replace(made, provenance=made.provenance | said).save(a.out / "ensemble.safetensors")


if __name__ == "__main__":
    main()
