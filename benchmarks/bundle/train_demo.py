"""Train the bundled demo model further, or from nothing: python benchmarks/bundle/train_demo.py mnist_train.npz --out out/train

A class-conditional DDPM on digits, of the architecture in demo_model/config.json. Stops and resumes: a checkpoint every
100 steps, written whole. The 10,000 digits that train_extractor.py holds out are left out here too. When the last step
is done it writes model.safetensors (the running mean of the weights, half precision).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from uncertainty_nodes.benchmarks.bundle.train_extractor import split
from uncertainty_nodes.benchmarks.bundle.trainer import Plan, Trainer
from uncertainty_nodes.core.demo.extractor import digits_to_images
from uncertainty_nodes.core.demo.network import read_config, read_weights
from uncertainty_nodes.hosts.diffusers.demo import NO_CLASS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="mnist_train.npz, with x (N, 28, 28) uint8 and y (N,)")
    parser.add_argument("--out", type=Path, default=Path("out/train"))
    parser.add_argument("--from-nothing", action="store_true", help="start from random weights instead of the bundled ones")
    parser.add_argument("--steps", type=int, default=14_000)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    with np.load(a.data) as data:
        digits, labels = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    training, _ = split(len(digits), 0)
    plan = Plan(a.out, a.steps, a.learning_rate, a.seed, NO_CLASS)
    trainer = Trainer(plan, read_config(), None if a.from_nothing else read_weights())
    trainer.run(digits_to_images(digits[training]), labels[training])
    trainer.write(a.out / "model.safetensors", "demo model")


if __name__ == "__main__":
    main()
