"""Weights for joining scores, learned from a few images that a person accepted or rejected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from ..result import Uncertainty
from .ranks import unit_ranks

FEWEST = 3  # labels of each kind: with one of each set aside, two remain to learn from
PENALTY = 1.0  # on the squared weights
MOST_PAIRS, PAIRS_AT_ONCE, NEWTON_STEPS = 1000, 500, 50


@dataclass(frozen=True)
class Learned:
    """weights: K numbers in 0..1, the largest 1, for ``combine``.

    auroc: the chance that a rejected image ranks worse than an accepted one when neither was learned from.
    equal: the same for equal weights, which learn nothing.   accepted, rejected: how many labels there were.
    """

    weights: tuple[float, ...]
    auroc: float
    equal: float
    accepted: int
    rejected: int

    def __str__(self) -> str:
        weights = ", ".join(f"{w:.3g}" for w in self.weights)
        useless = " Learning gains nothing here: equal weights do as well. Label more images, or use those."
        advice = "" if self.auroc > self.equal else useless
        return (
            f"Weights {weights}, learned from {self.accepted} accepted and {self.rejected} rejected images. Cross-validated AUROC "
            f"{self.auroc:.2f}, with equal weights {self.equal:.2f} (0.5 = chance, 1 = all told apart).{advice}"
        )


def learn_weights(results: Sequence[Uncertainty], accepted: Sequence[int], rejected: Sequence[int]) -> Learned:
    """Logistic regression of the labels on the ranks of K results for the same B images, with weights of 0 or more.

    minimise_{w >= 0, b}  sum_i log(1 + exp(-y_i (w . r_i + b))) + |w|^2 / 2,  y_i = 1 rejected, -1 accepted,
    r_i: badness rank of image i in each result, 0 = best and 1 = worst of the batch. A result knows which end is bad, so no weight
    may turn it round. Exact: for K results the best of the 2^K fits without limits whose weights all turn out 0 or more.
    The AUROC is left-pair-out: for each pair of a rejected and an accepted image, a fit without the two (Airola et al. 2011, which
    shows that leaving out single images is biased); of more than 1,000 pairs, evenly spaced ones.
    accepted, rejected: indexes of images. Deterministic. Raises ValueError for too few labels, or labels that no score agrees with.
    """
    x, y = labelled_ranks(results, accepted, rejected)
    weights = fit_nonnegative(x, y, torch.ones(1, len(y), dtype=torch.float64))[0]
    if float(weights.max()) <= 0:
        raise ValueError(
            "The labels speak against every result: by each, the rejected images are no worse than the accepted ones. "
            "Check that accepted_indexes and rejected_indexes are not mixed up, or set the weights by hand."
        )
    pairs = list(spaced([(i, j) for i in range(len(y)) for j in range(len(y)) if y[i] > 0 > y[j]], MOST_PAIRS))
    told = torch.cat([told_apart(x, y, pairs[i : i + PAIRS_AT_ONCE]) for i in range(0, len(pairs), PAIRS_AT_ONCE)])
    bad, good = (torch.tensor(side) for side in zip(*pairs, strict=True))
    equal = wins(x[bad].sum(dim=1) - x[good].sum(dim=1))
    shares = tuple((weights / weights.max()).tolist())
    return Learned(shares, float(told.mean()), float(equal.mean()), int((y < 0).sum()), int((y > 0).sum()))


def labelled_ranks(results: Sequence[Uncertainty], accepted: Sequence[int], rejected: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(N, K) float64 ranks of the labelled images among the whole batch, and (N,) labels 1 = rejected, -1 = accepted.

    Images that failed in one of the results are left out. Raises ValueError unless three of each kind remain.
    """
    if both := sorted(set(accepted) & set(rejected)):
        raise ValueError(f"accepted_indexes and rejected_indexes both name image {both[0]}; take it out of one of them.")
    badness = torch.stack([r.badness.detach().cpu().double() for r in results], dim=1)
    usable = badness.isfinite().all(dim=1)
    ranks = torch.full_like(badness, torch.nan)
    for k in range(len(results)):
        ranks[usable, k] = unit_ranks(badness[usable, k])
    chosen = {"accepted": [i for i in accepted if usable[i]], "rejected": [i for i in rejected if usable[i]]}
    for name, images in chosen.items():
        if len(images) < FEWEST:
            raise ValueError(
                f"Learning weights needs {FEWEST} accepted and {FEWEST} rejected images or more, got {len(images)} {name} with a score; "
                "name more in accepted_indexes and rejected_indexes, or leave both empty."
            )
    y = torch.tensor([-1.0] * len(chosen["accepted"]) + [1.0] * len(chosen["rejected"]), dtype=torch.float64)
    return ranks[chosen["accepted"] + chosen["rejected"]], y


def fit_nonnegative(x: Tensor, y: Tensor, counts: Tensor) -> Tensor:
    """The weights (F, K), all 0 or more, of F fits at once. counts: (F, N) how often each image counts in each fit."""
    best = torch.zeros(len(counts), x.shape[1], dtype=x.dtype)
    least = torch.full((len(counts),), torch.inf, dtype=x.dtype)
    for columns in subsets(x.shape[1]):
        found, loss = fit_logistic(x[:, columns], y, counts)
        better = (found[:, :-1] >= 0).all(dim=1) & (loss < least)
        weights = torch.zeros_like(best)
        weights[:, columns] = found[:, :-1]
        best, least = torch.where(better[:, None], weights, best), torch.where(better, loss, least)
    return best


def fit_logistic(x: Tensor, y: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """F logistic regressions at once, by Newton's method with halved steps: (F, K + 1) weights and last the offset, and (F,) losses.

    The offset is not penalised. x: (N, K). y: (N,) -1 or 1. counts: (F, N), both labels among the images that count.
    """
    design = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
    penalty = x.new_full((design.shape[1],), PENALTY)
    penalty[-1] = 0

    def loss_of(w: Tensor) -> Tensor:
        margins = -y * (w @ design.T)
        return (counts * torch.nn.functional.softplus(margins)).sum(dim=1) + (penalty * w.square()).sum(dim=1) / 2

    w = x.new_zeros(len(counts), design.shape[1])
    loss = loss_of(w)
    for _ in range(NEWTON_STEPS):
        p = torch.sigmoid(-y * (w @ design.T))
        gradient = -(counts * p * y) @ design + penalty * w
        curvature = torch.einsum("fn,ni,nj->fij", counts * p * (1 - p), design, design) + torch.diag(penalty)
        step = torch.linalg.solve(curvature, gradient)
        size = torch.ones_like(loss)
        for _ in range(NEWTON_STEPS):
            worse = loss_of(w - size[:, None] * step) > loss + 1e-12
            if not bool(worse.any()):
                break
            size = torch.where(worse, size / 2, size)
        w = w - size[:, None] * step
        loss = loss_of(w)
        if float(gradient.abs().max()) < 1e-10:
            break
    return w, loss


def told_apart(x: Tensor, y: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """For each pair (rejected, accepted): 1 when a fit without both ranks them rightly, 0.5 when it can't tell, else 0."""
    bad, good = (torch.tensor(side) for side in zip(*pairs, strict=True))
    counts = x.new_ones(len(pairs), len(y))
    rows = torch.arange(len(pairs))
    counts[rows, bad] = counts[rows, good] = 0
    return wins((fit_nonnegative(x, y, counts) * (x[bad] - x[good])).sum(dim=1))


def wins(difference: Tensor) -> Tensor:
    """1 where positive, 0.5 at 0 to rounding, else 0."""
    return torch.where(difference.abs() < 1e-9, 0.5, (difference > 0).double())


def subsets(count: int) -> Iterator[list[int]]:
    """Every choice of columns, from none to all."""
    for size in range(count + 1):
        yield from map(list, combinations(range(count), size))


def spaced(items: Sequence[tuple[int, int]], most: int) -> Iterator[tuple[int, int]]:
    """All, or ``most`` of them evenly spaced."""
    if len(items) <= most:
        yield from items
        return
    for i in range(most):
        yield items[i * len(items) // most]
