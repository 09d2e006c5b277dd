"""Train the colour model's ensemble: python benchmarks/bundle/train_colour_ensemble.py FOLDER --out out/colour

As train_ensemble.py for digits: five class-embedding tables for the model of train_colour.py, whose every other weight stays as it is.
Classes are cut down to 1, 10 or 100 % of their photos, and each table has its own bootstrap of what is left, of the 40,000 that the model
was trained on. Stops and resumes. The finished file goes to OUT/ensemble.safetensors. Half a minute on a GPU, hours on a processor.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from uncertainty_nodes.benchmarks.bundle.train_colour import read_pictures
from uncertainty_nodes.benchmarks.bundle.train_ensemble import cut, digest
from uncertainty_nodes.benchmarks.bundle.train_extractor import split
from uncertainty_nodes.benchmarks.shared.other_models.colour import load_colour
from uncertainty_nodes.core.options import EnsembleTrainingOptions
from uncertainty_nodes.hosts.diffusers.ensemble.train import TrainingPlan, train_tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder that the model was trained on")
    parser.add_argument("--out", type=Path, default=Path("out/colour"))
    parser.add_argument("--model", type=Path, help="(default: OUT/model.safetensors)")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--turn", type=int, default=0, help="by how many classes the shares are moved on")
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    images, labels = read_pictures(a.folder)
    seen = split(len(images), 0)[0]
    images, labels = images[seen], labels[seen]
    rows, counts = cut(labels, a.turn)
    network, scheduler, _ = load_colour(a.model or a.out / "model.safetensors", a.device)
    options, before = EnsembleTrainingOptions(a.steps, a.batch, seed=a.seed), digest(network)
    with tqdm(total=a.members * a.steps, unit="step") as bar:

        def progress(member: int, step: int, loss: float) -> None:
            bar.update()
            bar.set_postfix(loss=f"{loss:.4f}")

        plan = TrainingPlan(a.members, options, checkpoint=a.out / "ensemble_checkpoint.safetensors", progress=progress)
        made = train_tables(network, scheduler, images[rows].to(a.device), labels[rows], plan)
    if digest(network) != before:
        raise RuntimeError("The training has moved weights that it should not.")
    provenance = {"class_counts": ", ".join(map(str, counts)), "frozen_weights": before}
    path = a.out / "ensemble.safetensors"
    replace(made, provenance=made.provenance | provenance).save(path)
    print(f"Wrote {path}")


if __name__ == "__main__":
    main()
