"""What filtering by a score does to a pool of images, in its judge's features: FID, precision, recall, AUROC, calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.quality.direction import per_class, with_interval
from uncertainty_nodes.benchmarks.shared.subject import Subject, digits
from uncertainty_nodes.core.demo.extractor import Reference
from uncertainty_nodes.core.metrics.features import FeatureStatistics, PrecisionRecall, frechet_distance, precision_recall
from uncertainty_nodes.core.metrics.scores import Undefined, auroc
from uncertainty_nodes.core.selection.ranks import rank_average

KEPT = 5 / 6
RANDOM_SUBSETS = 20
RESAMPLES = 100
BINS = 10
PAIRED = 5_000  # images of which precision and recall are taken at most


@dataclass(frozen=True, eq=False)
class Judged:
    """A pool as its judge sees it, on the CPU. features (N, D), bad (N,) bool, seed (N,), label (N,)."""

    features: Tensor
    bad: Tensor
    seed: Tensor
    label: Tensor
    reference: Reference

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, seed: Tensor, subject: Subject | None = None) -> Judged:
        """By the judge of a subject; the bundled classifier where none is given."""
        subject = subject or digits()
        seen = subject.judged(images, labels)
        return cls(seen["features"], seen["asked"] < 0.5, seed, labels, subject.reference)

    def select(self, index: Tensor) -> Judged:
        return Judged(self.features[index], self.bad[index], self.seed[index], self.label[index], self.reference)

    def of_seed(self, seed: int) -> Judged:
        return self.select(self.seed == seed)

    def by_class(self) -> Judged:
        """Each class of each seed as a seed of its own: nothing is kept or dropped for what it shows."""
        return replace(self, seed=1000 * self.seed + self.label)

    def fid(self, index: Tensor) -> float:
        real = self.reference.statistics
        return frechet_distance(real, FeatureStatistics.of(self.features[index], real.extractor))

    def precision_recall(self, index: Tensor) -> PrecisionRecall:
        """Of at most PAIRED of these images, picked by chance: the distances of all pairs of more are too many."""
        if len(index) > PAIRED:
            index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(0))[:PAIRED]]
        return precision_recall(self.reference.features, self.features[index])

    def best(self, badness: Tensor) -> Tensor:
        """Indexes of the 5/6 of each seed's images with the least badness."""
        return torch.cat([own[badness[own].argsort(stable=True)[: round(KEPT * len(own))]] for own in self._places])

    @cached_property
    def _places(self) -> list[Tensor]:
        return [(self.seed == s).nonzero().flatten() for s in self.seed.unique()]

    @cached_property
    def by_chance(self) -> dict[str, Any]:
        """The same figures for random subsets of the same size, mean and standard deviation."""
        generator = torch.Generator().manual_seed(0)
        subsets = [self.best(torch.rand(len(self.bad), generator=generator)) for _ in range(RANDOM_SUBSETS)]
        fids = np.array([self.fid(s) for s in subsets])
        pairs = np.array([self.precision_recall(s) for s in subsets[:5]])
        return {"fid": fids.mean(), "fid_sd": fids.std(ddof=1), "precision": pairs[:, 0].mean(), "recall": pairs[:, 1].mean()}


def judge_filter(pool: Judged, badness: Tensor) -> dict[str, Any]:
    """One row of the table. Gain: FID of random subsets less that of the kept; more than 0 = better than chance."""
    kept, chance = pool.best(badness), pool.by_chance
    fid, (precision, recall) = pool.fid(kept), pool.precision_recall(kept)
    seeds = pool.seed.unique().tolist()
    return {
        "images": len(pool.bad),
        "bad": int(pool.bad.sum()),
        "auroc": detected(badness, pool.bad),
        "auroc_per_seed": [_auroc(badness[pool.seed == s], pool.bad[pool.seed == s]) for s in seeds],
        "auroc_within_class": _auroc(per_class(badness, pool.label), pool.bad),
        "gain_within_class": round(gain(pool.by_class(), badness), 3),
        "bad_kept": round(float(pool.bad[kept].float().mean()), 4),
        "fid": round(fid, 3),
        "fid_random": round(chance["fid"], 3),
        "fid_random_sd": round(chance["fid_sd"], 3),
        "gain": round(chance["fid"] - fid, 3),
        "gain_interval": gain_interval(pool, badness),
        "gain_per_seed": [round(gain(pool.of_seed(s), badness[pool.seed == s]), 3) for s in seeds],
        "precision": round(precision, 4),
        "precision_random": round(chance["precision"], 4),
        "recall": round(recall, 4),
        "recall_random": round(chance["recall"], 4),
        "share_bad_by_decile": by_decile(badness, pool.bad),
    }


def gain(pool: Judged, badness: Tensor) -> float:
    generator = torch.Generator().manual_seed(0)
    random = [pool.fid(pool.best(torch.rand(len(badness), generator=generator))) for _ in range(RANDOM_SUBSETS)]
    return float(np.mean(random)) - pool.fid(pool.best(badness))


def gain_interval(pool: Judged, badness: Tensor) -> list[float]:
    """Bootstrap over images: in each resample, the FID of random subsets less that of the kept.

    A repeated image is kept or dropped with all its copies by chance too, as by score: else the random subsets would hold more
    different images, and look better for it.
    """
    generator, gains = torch.Generator().manual_seed(0), []
    for _ in range(RESAMPLES):
        index = torch.randint(len(badness), (len(badness),), generator=generator)
        again = pool.select(index)
        random = [again.fid(again.best(torch.rand(len(index), generator=generator)[index])) for _ in range(5)]
        gains.append(float(np.mean(random)) - again.fid(again.best(badness[index])))
    return [round(float(g), 3) for g in np.percentile(gains, [2.5, 97.5])]


def off_manifold(real: Tensor, features: Tensor, k: int = 3) -> Tensor:
    """(B,) bool: lies outside of every real image's k-th neighbour's distance. Their share is 1 - precision (Kynkaanniemi et al. 2019)."""
    real, features = real.double(), features.double()
    reach = torch.cdist(real, real).topk(k + 1, largest=False).values[:, k]  # the nearest of all is the image itself
    return ~(torch.cdist(features, real) <= reach).any(dim=1)


def detected(badness: Tensor, bad: Tensor) -> dict[str, Any] | None:
    """None without bad or without good images."""
    try:
        return with_interval(badness, bad)
    except Undefined:
        return None


def _auroc(badness: Tensor, bad: Tensor) -> float | None:
    try:
        return round(auroc(badness, bad), 4)
    except Undefined:
        return None


def by_decile(badness: Tensor, bad: Tensor) -> list[float]:
    """Share of bad images in each tenth of the ranking, best tenth first."""
    return [round(float(part.float().mean()), 4) for part in bad[badness.argsort(stable=True)].tensor_split(BINS)]


def best_of_other_seeds(pool: Judged, scores: dict[str, Tensor], count: int) -> tuple[Tensor, dict[int, list[str]]]:
    """Rank average, within each seed, of the methods with the highest AUROC on the other seeds: nobody picks by what he is judged on."""
    joined, picked = torch.zeros(len(pool.bad), dtype=torch.float64), {}
    for seed in pool.seed.unique().tolist():
        own, others = pool.seed == seed, pool.seed != seed
        found = {name: _auroc(badness[others], pool.bad[others]) or 0.0 for name, badness in scores.items()}
        picked[seed] = sorted(found, key=lambda name: -found[name])[:count]
        joined[own] = rank_average([scores[name][own] for name in picked[seed]], [1.0] * count)
    return joined, picked
