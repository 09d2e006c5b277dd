"""Train five class-embedding tables for the shapes model: python benchmarks/bundle/train_shapes_ensemble.py

Each on its own bootstrap of 4,000 drawn pictures, every other weight as it is. Stops and resumes: a checkpoint every 25 steps. The
benchmarks read what it writes, out/shapes/ensemble.safetensors. A few minutes of one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tqdm import tqdm

from uncertainty_nodes.benchmarks.quality.shapes import load_shapes
from uncertainty_nodes.benchmarks.shared.other_models.shapes import CLASSES, draw_shapes
from uncertainty_nodes.core.options import EnsembleTrainingOptions
from uncertainty_nodes.hosts.diffusers.ensemble.train import TrainingPlan, train_tables

PICTURES, SEED = 4_000, 1  # not the seed of the model's own pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("out/shapes/model.safetensors"))
    parser.add_argument("--out", type=Path, default=Path("out/shapes"))
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    network, scheduler, _ = load_shapes(a.model)
    labels = torch.arange(PICTURES) % CLASSES
    with tqdm(total=a.members * a.steps, unit="step") as bar:

        def progress(member: int, step: int, loss: float) -> None:
            bar.n = member * a.steps + step
            bar.set_postfix(loss=f"{loss:.4f}")

        options = EnsembleTrainingOptions(a.steps, a.batch)
        plan = TrainingPlan(a.members, options, checkpoint=a.out / "ensemble_checkpoint.safetensors", progress=progress)
        train_tables(network, scheduler, draw_shapes(labels, SEED), labels, plan).save(a.out / "ensemble.safetensors")


if __name__ == "__main__":
    main()
