"""Fit the bundled Laplace posterior of the demo model: python benchmarks/bundle/fit_demo_laplace.py mnist_train.npz

On the first digits of the 50,000 that train_extractor.py does not hold out, with every tenth class label left out as in training.
About a minute on one core for 10,000 digits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.bundle.train_extractor import split
from uncertainty_nodes.core.demo.extractor import digits_to_images
from uncertainty_nodes.core.demo.network import FOLDER
from uncertainty_nodes.core.options import Covariance, LaplaceOptions
from uncertainty_nodes.hosts.diffusers.demo import NO_CLASS, load_demo
from uncertainty_nodes.hosts.diffusers.last_layer.laplace import fit_laplace

BATCH = 50


def digits(path: Path, count: int) -> tuple[Tensor, Tensor]:
    """Images (count, 1, 32, 32) and labels (count,), every tenth NO_CLASS."""
    with np.load(path) as data:
        pick = split(len(data["x"]), 0)[0][:count]
        images, labels = digits_to_images(torch.from_numpy(data["x"][pick])), torch.from_numpy(data["y"][pick]).long()
    labels[9::10] = NO_CLASS
    return images, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="npz file of the MNIST training digits")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--covariance", choices=[c.value for c in Covariance], default=Covariance.DIAGONAL.value)
    parser.add_argument("--prior-precision", type=float, default=LaplaceOptions().prior_precision)
    parser.add_argument("--noise-variance", type=float, default=LaplaceOptions().noise_variance)
    parser.add_argument("--out", type=Path, default=FOLDER / "laplace.safetensors")
    a = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = digits(a.data, a.images)
    options = LaplaceOptions(Covariance(a.covariance), a.prior_precision, a.noise_variance)
    with tqdm(total=len(images), unit="image") as bar:
        batches = ((x, {"class_labels": y}) for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True))
        fitted = fit_laplace(*load_demo(), batches, options, progress=lambda done: bar.update(done.samples - bar.n))
    fitted.save(a.out)
    print(f"Wrote {a.out}")


if __name__ == "__main__":
    main()
