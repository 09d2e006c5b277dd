"""How well prompt information finds bad images, and what it costs: python benchmarks/quality/information.py

Takes the images of direction.py (drawn when missing) with their V and U maps; measures information one noise level at a
time and in the default window; reports the AUROC for bad images (the bundled classifier gives the asked class p < 0.5)
with 95 % bootstrap intervals, beside V and U at a like number of network evaluations (NFE) and the rank average of both kinds.
Then: accuracy of the class posterior on held-out real digits, and the spread between seeds by number of draws. About 8
core-minutes for 600 images; stops and resumes by chunks. The package's default window comes from here.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from uncertainty_nodes.benchmarks.quality.direction import CHUNK, gather, with_interval
from uncertainty_nodes.benchmarks.shared.common import kept, write
from uncertainty_nodes.core.demo.extractor import load_extractor, load_reference
from uncertainty_nodes.core.options import DIRECTION_OF, Direction, DrawOptions, InformationOptions, Quantity, StepWindow
from uncertainty_nodes.core.selection.ranks import rank_average
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, NO_CLASS, load_demo
from uncertainty_nodes.hosts.diffusers.information import classify, each_class, information

FIRST_STEP, STEP = 0.36, 0.04  # of the steps that direction.py measured, in percent
PERCENTS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PAIR = DrawOptions(2, antithetic=True, micro_batch=2)
DEFAULT = InformationOptions()
ZERO_SHOT = InformationOptions(PAIR, levels=2)
DRAWS, SEEDS = (2, 4, 8, 16), 64


@dataclass(frozen=True)
class Lab:
    """The demo model, and where what was measured is kept."""

    network: Any
    scheduler: Any
    work: Path

    def kept(self, name: str, options: object, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        return kept(self.work / f"{name}.safetensors", options, make)

    def scores(self, images: Tensor, labels: Tensor, options: InformationOptions) -> dict[str, Tensor]:
        _, none = each_class(CLASSES, NO_CLASS, images)
        found = information(self.network, self.scheduler, images, {"class_labels": labels}, none, options)
        return {"scores": found.result.scores}

    def all_scores(self, name: str, data: dict[str, Tensor], options: InformationOptions) -> Tensor:
        """(N,) information of the images about the class that was asked for."""
        chunks = zip(data["images"].split(CHUNK), data["labels"].split(CHUNK), strict=True)
        parts = [
            self.kept(f"{name}_{i}", options, lambda x=x, y=y: self.scores(x, y, options))
            for i, (x, y) in enumerate(tqdm(chunks, desc=name))
        ]
        return torch.cat([p["scores"] for p in parts])


def step_at(percent: float) -> int:
    """The nearest of direction.py's steps."""
    return round((percent - FIRST_STEP) / STEP)


def detection(lab: Lab, data: dict[str, Tensor]) -> dict[str, Any]:
    bad = load_extractor()(data["images"]).softmax(dim=1)[torch.arange(len(data["labels"])), data["labels"]] < 0.5
    levels = {}
    for p in PERCENTS:
        options = InformationOptions(PAIR, StepWindow(p, p), 1, 0.0, math.inf)
        levels[f"{p:g}"] = {"information, 4 NFE": with_interval(-lab.all_scores(f"level_{p:g}", data, options), bad)}
    window = -lab.all_scores("window", data, DEFAULT)
    spread = {}
    for quantity in Quantity:  # 5 draws a step: 6 steps are 30 NFE, against 32 of the default information
        badness = data[quantity.value].mean(dim=-1) * (1 if DIRECTION_OF[quantity] is Direction.HIGH_IS_BAD else -1)
        for p in (q for q in PERCENTS if q >= FIRST_STEP):
            levels[f"{p:g}"][f"{quantity.value}, one step, 5 NFE"] = with_interval(badness[step_at(p)], bad)
        for p in (0.4, 0.6, 0.76):
            first = step_at(p)
            spread[f"{quantity.value}, {p:g} to {p + 0.2:g}, 30 NFE"] = badness[first : first + 6].mean(dim=0)
    return {
        "images": len(bad),
        "bad": int(bad.sum()),
        "per_level": levels,
        "default": {
            "window": [DEFAULT.window.start, DEFAULT.window.end],
            "NFE": 2 * DEFAULT.draws.samples * DEFAULT.levels,
            "information": with_interval(window, bad),
            "V (denoised) and U (noise), each in its direction": {name: with_interval(score, bad) for name, score in spread.items()},
            "rank average of information with each": {
                name: with_interval(rank_average([window, score], [1.0, 1.0]), bad) for name, score in spread.items()
            },
        },
    }


def zero_shot(lab: Lab, count: int) -> dict[str, Any]:
    digits = load_reference()
    images, labels = digits.images[:count], digits.labels[:count]

    def classified(x: Tensor) -> dict[str, Tensor]:
        found = classify(lab.network, lab.scheduler, x, *each_class(CLASSES, NO_CLASS, x), ZERO_SHOT)
        return {"probabilities": found.probabilities}

    parts = [lab.kept(f"digits_{i}", ZERO_SHOT, lambda x=x: classified(x)) for i, x in enumerate(tqdm(images.split(32), desc="digits"))]
    right = (torch.cat([p["probabilities"] for p in parts]).argmax(dim=1) == labels).double()
    error = float((right.mean() * (1 - right.mean()) / count).sqrt())
    nfe = (CLASSES + 1) * ZERO_SHOT.draws.samples * ZERO_SHOT.levels
    return {"digits": count, "accuracy": round(float(right.mean()), 4), "standard_error": round(error, 4), "NFE": nfe}


def convergence(lab: Lab, data: dict[str, Tensor], count: int = 8) -> dict[str, Any]:
    """Spread of the default score between seeds, root mean square over images, in nats, by number of draws.

    Two draws for each of 64 seeds; a score of more draws is the mean over several seeds.
    """
    x, y = data["images"][:count], data["labels"][:count]
    table: dict[str, Any] = {"images": count, "seeds": SEEDS, "draws": list(DRAWS)}
    for antithetic in (False, True):
        rows = []
        for seed in tqdm(range(SEEDS), desc=f"antithetic {antithetic}"):
            options = replace(DEFAULT, draws=DrawOptions(2, seed, antithetic, micro_batch=2))
            rows.append(lab.kept(f"seed_{seed}_{antithetic}", options, lambda options=options: lab.scores(x, y, options))["scores"])
        pairs = torch.stack(rows)
        means = {draws: pairs.unflatten(0, (-1, draws // 2)).mean(dim=1) for draws in DRAWS}
        table["antithetic" if antithetic else "independent"] = [round(float(m.var(dim=0).mean().sqrt()), 4) for m in means.values()]
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--digits", type=int, default=128)
    parser.add_argument("--drawn", type=Path, default=Path("out/direction"), help="the images of direction.py")
    parser.add_argument("--work", type=Path, default=Path("out/information"))
    a = parser.parse_args()
    lab, data = Lab(*load_demo(), a.work), gather(a.images, a.drawn)
    result = {"detection": detection(lab, data), "zero_shot": zero_shot(lab, a.digits), "convergence": convergence(lab, data)}
    print(f"Wrote {write('information', result)}")


if __name__ == "__main__":
    main()
