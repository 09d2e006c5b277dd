"""Does an ensemble know what it has seen little of? python benchmarks/quality/ensemble.py

The bundled class-embedding ensemble, whose members saw 1, 10 or 100 % of a class's digits, draws every class; the same images
from several branches. For each branch and each moment: mean uncertainty I and mean raw distance of each class, their Spearman
rank correlation with the number of training digits, and the AUROC of scarce (1 %) against full (100 %) classes. Then the
bandwidths, and what K members cost beside K plain runs. With --other, the default branch of an ensemble whose shares went to
other digits (train_ensemble.py --turn), which tells scarcity from how hard a digit is. About 10 minutes; stops and resumes. --colour: the
same of the colour model and the ensemble of train_colour_ensemble.py, without the timing (results/ensemble_colour.json).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.quality.direction import with_interval
from uncertainty_nodes.benchmarks.shared.common import clock, kept, write
from uncertainty_nodes.benchmarks.shared.subject import COLOUR, OnSubject, Subject, add_subject, open_subject
from uncertainty_nodes.core.ensemble.file import EnsembleParameters
from uncertainty_nodes.core.ensemble.paide import Outcomes, per_image
from uncertainty_nodes.core.metrics.scores import Undefined, spearman
from uncertainty_nodes.core.options import EnsembleOptions, Moment, PaideOptions
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, NO_CLASS, sample
from uncertainty_nodes.hosts.diffusers.ensemble.decu import decu
from uncertainty_nodes.hosts.diffusers.ensemble.members import TableMembers

BRANCHES = (0.5, 0.75, 0.9, 0.0)
PUBLISHED = 1.0
BANDWIDTHS = {"published, 1": None, "per dimension": 1.0, "a tenth of that": 0.1, "ten times that": 10.0}  # times the number of dimensions
STEPS, CHUNK, SEED = 20, 10, 21
SCARCE, FULL = 0.02, 0.8


@dataclass(frozen=True)
class Lab(OnSubject):
    """A model with an ensemble, and where what was measured is kept. counts: training images of each class. size: images a chunk."""

    subject: Subject
    work: Path
    per_class: int
    steps: int = STEPS
    guidance: float = 1.0
    size: int = CHUNK

    @property
    def ensemble(self) -> EnsembleParameters:
        return self.subject.ensemble

    @property
    def counts(self) -> list[int]:
        return [int(count) for count in self.ensemble.provenance["class_counts"].split(",")]

    @property
    def labels(self) -> Tensor:
        return torch.arange(self.per_class * CLASSES) % CLASSES

    def measured(self, branch: float) -> dict[str, Tensor]:
        """Of every image: I and distance at each step after the branch, (S, N), and the members' finished samples (K, N, C, 32, 32)."""
        parts = []
        for i, labels in enumerate(tqdm(self.labels.split(self.size), desc=f"branch {branch:g}")):
            options = {"branch": branch, "steps": self.steps, "seed": SEED, "members": self.ensemble.provenance}
            options |= ({} if self.guidance == 1 else {"guidance": self.guidance}) | self.subject.options
            parts.append(kept(self.work / f"branch_{branch:g}_{i}.safetensors", options, lambda i=i, y=labels: self.chunk(branch, i, y)))
        return {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}

    def chunk(self, branch: float, i: int, labels: Tensor) -> dict[str, Tensor]:
        members = TableMembers(self.network, self.ensemble, labels.to(self.subject.device), NO_CLASS)
        noise = self.subject.noise(len(labels), SEED, i * self.size).to(self.subject.device)
        found = decu(self.network, self.scheduler, noise, members, self.steps, EnsembleOptions(branch, seed=i), self.guidance)
        return {"information": found.information.curve, "distance": found.distance.curve, "samples": found.samples}


def at(curve: Tensor, moment: Moment) -> Tensor:
    """(S, N) -> (N,)"""
    return {Moment.FIRST: curve[0], Moment.LAST: curve[-1], Moment.MEAN: curve.mean(dim=0)}[moment]


def told(lab: Lab, scores: Tensor) -> dict[str, Any]:
    """What the scores (N,) say of how many images of a class were trained on.

    Scarce and full: of under 2 % and over 80 % of the most that a class has.
    """
    counts, scores = torch.tensor(lab.counts), scores.double()
    seen = counts[lab.labels]
    means = torch.stack([scores[lab.labels == c].mean() for c in range(CLASSES)])
    scarce, full = seen < SCARCE * counts.max(), seen > FULL * counts.max()
    ends = scarce | full
    return {
        "spearman_of_class_means": rank_correlation(means, counts.double()),
        "spearman_of_images": rank_correlation(scores, seen.double()),
        "scarce_against_full": with_interval(scores[ends], scarce[ends]),
        "class_means": [float(f"{mean:.4g}") for mean in means.tolist()],
    }


def rank_correlation(a: Tensor, b: Tensor) -> float | None:
    """None where all are equal, as when every image's I is at its top."""
    try:
        return round(spearman(a, b), 4)
    except Undefined:
        return None


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
    for name, times in BANDWIDTHS.items():
        bandwidth = PUBLISHED if times is None else times * samples[0, 0].numel()
        scores = per_image(Outcomes(samples), PaideOptions(bandwidth=bandwidth)).information
        table[name] = {"at_log_K": round(float((scores > 0.999 * limit).double().mean()), 4), **told(lab, scores)}
    return table


def cost(lab: Lab, repeats: int, images: int = 8) -> dict[str, Any]:
    """Processor time of K members together against K plain runs of as many steps, in turn; and the passes of a run with a branch."""
    count, labels = len(lab.ensemble), (torch.arange(images) % CLASSES).to(lab.subject.device)
    noise = lab.subject.noise(images, SEED, 0).to(lab.subject.device)
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


def under_cfg(a: argparse.Namespace, subject: Subject) -> dict[str, Any]:
    """The default branch without guidance and at the scale that was asked for."""
    result: dict[str, Any] = {"images_per_class": a.images, "steps": a.steps, "scales": {}}
    for scale in (1.0, a.cfg):
        lab = Lab(subject, a.work / f"cfg_{scale:g}", a.images, a.steps, scale, a.size)
        result["scales"][f"{scale:g}"] = branches(lab, [EnsembleOptions().branch])
    return result | {"members": len(lab.ensemble), "training_digits": lab.counts, "default": EnsembleOptions().moment.value}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20, help="of each class")
    parser.add_argument("--size", type=int, default=CHUNK, help="images a chunk")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--other", type=Path, help="an ensemble whose shares went to other classes")
    parser.add_argument("--cfg", type=float, help="the default branch under classifier-free guidance of this scale instead")
    parser.add_argument("--repeats", type=int, default=5, help="of the timing, which is of digits alone")
    parser.add_argument("--work", type=Path, help="(default: out/ensemble/measured, or out/colour/ensemble)")
    add_subject(parser)
    a = parser.parse_args()
    a.work = a.work or (COLOUR / "ensemble" if a.colour else Path("out/ensemble/measured"))
    subject, name = open_subject(a), "ensemble_colour" if a.colour else "ensemble"
    if a.cfg is not None:
        print(f"Wrote {write(f'{name}_cfg', under_cfg(a, subject) | subject.options)}")
        return
    lab, default = Lab(subject, a.work / "own", a.images, a.steps, size=a.size), EnsembleOptions()
    result = {
        "images_per_class": a.images,
        "steps": a.steps,
        "members": len(lab.ensemble),
        "training_digits": lab.counts,
        "default": {"branch": default.branch, "moment": default.moment.value, "bandwidth": "per dimension"},
        "branches": branches(lab),
        "bandwidths": bandwidths(lab, default.branch),
    }
    result |= subject.options if a.colour else {"cost": cost(lab, a.repeats)}
    if a.other is not None:
        other = Lab(replace(subject, ensemble_path=a.other), a.work / "other", a.images, a.steps, size=a.size)
        result["other_digits_scarce"] = {
            "training_digits": other.counts,
            "members": len(other.ensemble),
            "branches": branches(other, [default.branch]),
        }
    print(f"Wrote {write(name, result)}")


if __name__ == "__main__":
    main()
