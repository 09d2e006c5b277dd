"""How good a score is: AUROC, rank correlation, bootstrap intervals; and the door to the metrics of maps and image sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..options import check_range, limits
from ..selection.ranks import average_ranks
from .features import FeatureStatistics, PrecisionRecall, frechet_distance, precision_recall
from .sparsification import Sparsification, sparsification

__all__ = [
    # scores
    "Interval",
    "Undefined",
    "auroc",
    "bootstrap_interval",
    "spearman",
    # maps
    "Sparsification",
    "sparsification",
    # sets of images
    "FeatureStatistics",
    "PrecisionRecall",
    "frechet_distance",
    "precision_recall",
]


class Undefined(ValueError):
    """The statistic has no value on this sample, such as an AUROC without bad images."""


class Interval(NamedTuple):
    low: float
    high: float


def auroc(badness: Tensor, bad: Tensor) -> float:
    """Probability that a bad image has the higher badness than a good one, ties counting half; 0.5 = knows nothing.

    A = (sum of ranks of the bad - n_bad (n_bad + 1) / 2) / (n_bad n_good)

    badness: (B,) finite, high = bad.   bad: (B,) bool.
    Raises ValueError when shapes differ or a value is not finite, Undefined unless there are both bad and good images.
    Source: Mann & Whitney 1947; Hanley & McNeil 1982.
    """
    ranks = average_ranks(_checked(badness, bad))
    bad = bad.detach().cpu().bool()
    n_bad = int(bad.sum())
    n_good = len(bad) - n_bad
    if n_bad == 0 or n_good == 0:
        raise Undefined(f"AUROC needs bad and good images, got {n_bad} bad and {n_good} good.")
    return (float(ranks[bad].sum()) - n_bad * (n_bad + 1) / 2) / (n_bad * n_good)


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation in [-1, 1]: Pearson's correlation of the ranks, ties sharing their mean rank. a, b: (B,) finite.

    Raises ValueError when shapes differ or a value is not finite, Undefined when all values of one are equal.
    Source: Spearman 1904.
    """
    x, y = average_ranks(_checked(a, b)), average_ranks(_checked(b, a))
    x, y = x - x.mean(), y - y.mean()
    norm = (x.square().sum() * y.square().sum()).sqrt()
    if norm == 0:
        raise Undefined("A rank correlation needs values that differ, got only equal ones.")
    return float((x * y).sum() / norm)


def bootstrap_interval(
    statistic: Callable[..., float], *samples: Tensor, seed: int = 0, resamples: int = 1000, percent: float = 95.0
) -> Interval:
    """Percentile interval of a statistic over images: resample the B images with replacement, take the middle ``percent`` %.

    statistic(*samples) -> float; samples: tensors (B, ...) that are resampled together, such as badness and bad.
    Resamples on which the statistic is Undefined are left out; Undefined when that is more than half of them.
    Uses its own generator: same seed, same interval. Source: Efron & Tibshirani 1993, section 13.3.
    """
    if not samples or len(samples[0]) == 0 or any(len(s) != len(samples[0]) for s in samples):
        raise ValueError(f"A bootstrap needs samples of one length, at least 1, got {[tuple(s.shape) for s in samples]}.")
    check_range("resamples", resamples, 1)
    limits.PERCENT.check("percent", percent)
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(resamples):
        index = torch.randint(len(samples[0]), (len(samples[0]),), generator=generator)
        try:
            values.append(statistic(*(s[index.to(s.device)] for s in samples)))
        except Undefined:
            continue
    if 2 * len(values) < resamples:
        raise Undefined(f"The statistic has a value on only {len(values)} of {resamples} resamples; give more images.")
    tail = (100 - percent) / 2
    return Interval(*np.percentile(values, [tail, 100 - tail]).tolist())


def _checked(values: Tensor, other: Tensor) -> Tensor:
    if values.ndim != 1 or values.shape != other.shape or len(values) == 0:
        raise ValueError(f"Two series of one length, at least 1, are compared, got shapes {tuple(values.shape)} and {tuple(other.shape)}.")
    if not bool(values.isfinite().all()):
        raise ValueError("Scores must be finite, got NaN or infinite values; leave those images out.")
    return values.detach().cpu()
