"""Does an ensemble know what it has seen little of? python benchmarks/quality/ensemble.py

The bundled class-embedding ensemble, whose members saw 1, 10 or 100 % of a class's digits, draws every class; the same images
from several branches. For each branch and each moment: mean uncertainty I and mean raw distance of each class, their Spearman
rank correlation with the number of training digits, and the AUROC of scarce (1 %) against full (100 %) classes. Then the
bandwidths, and what K members cost beside K plain runs. With --other, the default branch of an ensemble whose shares went to
other digits (train_ensemble.py --turn), which tells scarcity from how hard a digit is. About 10 minutes; stops and resumes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.quality.direction import with_interval
from uncertainty_nodes.benchmarks.shared.common import clock, kept, write
from uncertainty_nodes.core.demo.network import FOLDER
from uncertainty_nodes.core.ensemble.file import EnsembleParameters
from uncertainty_nodes.core.ensemble.paide import Outcomes, per_image
from uncertainty_nodes.core.metrics.scores import spearman
from uncertainty_nodes.core.options import EnsembleOptions, Moment, PaideOptions
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, NO_CLASS, load_demo, sample, starting_noise
from uncertainty_nodes.hosts.diffusers.ensemble.decu import decu
from uncertainty_nodes.hosts.diffusers.ensemble.members import TableMembers

BRANCHES = (0.5, 0.75, 0.9, 0.0)
BANDWIDTHS = {"published, 1": 1.0, "per dimension": 0.0, "a tenth of that": 102.4, "ten times that": 10240.0}
STEPS, CHUNK, SEED = 20, 10, 21


@dataclass(frozen=True)
class Lab:
    """The demo model with an ensemble, and where what was measured is kept. counts: training digits of each class."""

    network: Any
    scheduler: Any
    ensemble: EnsembleParameters
    work: Path
    per_class: int
    steps: int = STEPS
    guidance: float = 1.0

    @classmethod
    def open(cls, path: Path, work: Path, per_class: int, steps: int = STEPS, guidance: float = 1.0) -> Lab:
        network, scheduler = load_demo()
        network = network.to(memory_format=torch.channels_last)  # a seventh faster on processors
        return cls(network, scheduler, EnsembleParameters.load(path), work, per_class, steps, guidance)

    @property
    def counts(self) -> list[int]:
        return [int(count) for count in self.ensemble.provenance["class_counts"].split(",")]

    @property
    def labels(self) -> Tensor:
        return torch.arange(self.per_class * CLASSES) % CLASSES

    def measured(self, branch: float) -> dict[str, Tensor]:
        """Of every image: I and distance at each step after the branch, (S, N), and the members' finished samples (K, N, 1, 32, 32)."""
        parts = []
        for i, labels in enumerate(tqdm(self.labels.split(CHUNK), desc=f"branch {branch:g}")):
            options = {"branch": branch, "steps": self.steps, "seed": SEED, "members": self.ensemble.provenance}
            options |= {} if self.guidance == 1 else {"guidance": self.guidance}
            parts.append(kept(self.work / f"branch_{branch:g}_{i}.safetensors", options, lambda i=i, y=labels: self.chunk(branch, i, y)))
        return {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}

    def chunk(self, branch: float, i: int, labels: Tensor) -> dict[str, Tensor]:
        members = TableMembers(self.network, self.ensemble, labels, NO_CLASS)
        noise = starting_noise(len(labels), SEED, i * CHUNK)
        found = decu(self.network, self.scheduler, noise, members, self.steps, EnsembleOptions(branch, seed=i), self.guidance)
        return {"information": found.information.curve, "distance": found.distance.curve, "samples": found.samples}


def at(curve: Tensor, moment: Moment) -> Tensor:
    """(S, N) -> (N,)"""
    return {Moment.FIRST: curve[0], Moment.LAST: curve[-1], Moment.MEAN: curve.mean(dim=0)}[moment]


def told(lab: Lab, scores: Tensor) -> dict[str, Any]:
    """What the scores (N,) say of how many digits of a class were trained on. Scarce: under 100 of them; full: over 5,000."""
    counts, scores = torch.tensor(lab.counts), scores.double()
    seen = counts[lab.labels]
    means = torch.stack([scores[lab.labels == c].mean() for c in range(CLASSES)])
    ends = (seen < 100) | (seen > 5000)
    return {
        "spearman_of_class_means": round(spearman(means, counts.double()), 4),
        "spearman_of_images": round(spearman(scores, seen.double()), 4),
        "scarce_against_full": with_interval(scores[ends], seen[ends] < 100),
        "class_means": [float(f"{mean:.4g}") for mean in means.tolist()],
    }


def branches(lab: Lab, chosen: Sequence[float] = BRANCHES) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for branch in chosen:
        found = lab.measured(branch)
        steps = len(found["information"])
        table[f"{branch:g}"] = {"steps_after": steps, "NFE": calls_of(lab, steps)} | {
            moment.value: {name: told(lab, at(found[name], moment)) for name in ("information", "distance")} for moment in Moment
        }
    return table


def calls_of(lab: Lab, steps: int) -> int:
    """Of an image whose members part ``steps`` steps before the end."""
    return (lab.steps - steps + len(lab.ensemble) * steps) * (1 if lab.guidance == 1 else 2)


def bandwidths(lab: Lab, branch: float) -> dict[str, Any]:
    """Of the finished samples: for how many images I is at its top, where it no longer ranks, and what it tells."""
    samples, limit, table = lab.measured(branch)["samples"], math.log(len(lab.ensemble)), {}
    for name, bandwidth in BANDWIDTHS.items():
        scores = per_image(Outcomes(samples), PaideOptions(bandwidth=bandwidth)).information
        table[name] = {"at_log_K": round(float((scores > 0.999 * limit).double().mean()), 4), **told(lab, scores)}
    return table


def cost(lab: Lab, repeats: int, images: int = 8) -> dict[str, Any]:
    """Processor time of K members together against K plain runs of as many steps, in turn; and the passes of a run with a branch."""
    count, labels, noise = len(lab.ensemble), torch.arange(images) % CLASSES, starting_noise(images, SEED)
    members, ratios = TableMembers(lab.network, lab.ensemble, labels), []
    for _ in range(repeats):
        start = clock()
        for _ in range(count):
            sample(lab.network, lab.scheduler, noise, labels, lab.steps)
        middle = clock()
        decu(lab.network, lab.scheduler, noise, members, lab.steps, EnsembleOptions(0.0))
        ratios.append((clock() - middle) / (middle - start))
    half = decu(lab.network, lab.scheduler, noise, members, lab.steps, EnsembleOptions(0.5)).information
    shared = lab.steps - len(half.curve)
    return {
        "members": count,
        "images": images,
        "steps": lab.steps,
        "time_beside_K_plain_runs": [round(ratio, 4) for ratio in sorted(ratios)],
        "median": round(sorted(ratios)[repeats // 2], 4),
        "shared_steps_at_branch_0.5": shared,
        "NFE_at_branch_0.5": half.nfe,
        "NFE_of_K_whole_runs": count * lab.steps,
    }


def under_cfg(a: argparse.Namespace) -> dict[str, Any]:
    """The default branch without guidance and at the scale that was asked for."""
    result: dict[str, Any] = {"images_per_class": a.images, "steps": a.steps, "scales": {}}
    for scale in (1.0, a.cfg):
        lab = Lab.open(a.ensemble, a.work / f"cfg_{scale:g}", a.images, a.steps, scale)
        result["scales"][f"{scale:g}"] = branches(lab, [EnsembleOptions().branch])
    return result | {"members": len(lab.ensemble), "training_digits": lab.counts, "default": EnsembleOptions().moment.value}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20, help="of each class")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--ensemble", type=Path, default=FOLDER / "ensemble.safetensors")
    parser.add_argument("--other", type=Path, help="an ensemble whose shares went to other digits")
    parser.add_argument("--cfg", type=float, help="the default branch under classifier-free guidance of this scale instead")
    parser.add_argument("--repeats", type=int, default=5, help="of the timing")
    parser.add_argument("--work", type=Path, default=Path("out/ensemble/measured"))
    a = parser.parse_args()
    if a.cfg is not None:
        print(f"Wrote {write('ensemble_cfg', under_cfg(a))}")
        return
    lab, default = Lab.open(a.ensemble, a.work / "own", a.images, a.steps), EnsembleOptions()
    result = {
        "images_per_class": a.images,
        "steps": a.steps,
        "members": len(lab.ensemble),
        "training_digits": lab.counts,
        "default": {"branch": default.branch, "moment": default.moment.value, "bandwidth": "per dimension"},
        "branches": branches(lab),
        "bandwidths": bandwidths(lab, default.branch),
        "cost": cost(lab, a.repeats),
    }
    if a.other is not None:
        other = Lab.open(a.other, a.work / "other", a.images, a.steps)
        result["other_digits_scarce"] = {
            "training_digits": other.counts,
            "members": len(other.ensemble),
            "branches": branches(other, [default.branch]),
        }
    print(f"Wrote {write('ensemble', result)}")


if __name__ == "__main__":
    main()
