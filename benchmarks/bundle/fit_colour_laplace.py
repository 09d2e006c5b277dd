"""Fit a Laplace posterior of the colour model: python benchmarks/bundle/fit_colour_laplace.py FOLDER --out out/colour/laplace.safetensors

As fit_demo_laplace.py for digits: on the first photos of the 40,000 that the model was trained on, every tenth class label left out as in
training. Seconds on a GPU for 10,000 photos, half an hour on a processor.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from uncertainty_nodes.benchmarks.bundle.train_colour import picture_files, read_files
from uncertainty_nodes.benchmarks.bundle.train_extractor import split
from uncertainty_nodes.benchmarks.shared.other_models.colour import load_colour
from uncertainty_nodes.core.options import Covariance, LaplaceOptions
from uncertainty_nodes.hosts.diffusers.demo import NO_CLASS
from uncertainty_nodes.hosts.diffusers.last_layer.laplace import fit_laplace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder that the model was trained on")
    parser.add_argument("--model", type=Path, default=Path("out/colour/model.safetensors"))
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=50, help="images a batch (default: %(default)s)")
    parser.add_argument("--covariance", choices=[c.value for c in Covariance], default=Covariance.DIAGONAL.value)
    parser.add_argument("--prior-precision", type=float, default=LaplaceOptions().prior_precision)
    parser.add_argument("--noise-variance", type=float, default=LaplaceOptions().noise_variance)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("out/colour/laplace.safetensors"))
    a = parser.parse_args()
    files = picture_files(a.folder)
    images, labels = (t.to(a.device) for t in read_files([files[i] for i in split(len(files), 0)[0][: a.images]]))
    labels[9::10] = NO_CLASS
    network, scheduler, _ = load_colour(a.model, a.device)
    options = LaplaceOptions(Covariance(a.covariance), a.prior_precision, a.noise_variance)
    with tqdm(total=len(images), unit="image") as bar:
        batches = ((x, {"class_labels": y}) for x, y in zip(images.split(a.size), labels.split(a.size), strict=True))
        fitted = fit_laplace(network, scheduler, batches, options, progress=lambda done: bar.update(done.samples - bar.n))
    fitted.save(a.out)
    print(f"Wrote {a.out}")


if __name__ == "__main__":
    main()
