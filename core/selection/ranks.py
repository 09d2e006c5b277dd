"""Ranks, and joining several scores by them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def best_first(badness: Tensor) -> Tensor:
    """Indexes (B,) from best to worst; equal ones in the order of the batch; what is not finite last. badness: (B,), high = bad."""
    return torch.where(badness.isfinite(), badness, torch.inf).argsort(stable=True)


def average_ranks(values: Tensor) -> Tensor:
    """Rank of each value, 1 = smallest; equal values share the mean of the ranks they fill. (B,) -> (B,) float64.

    Values must be finite. Source: Conover 1999, section 5.1 (mid-ranks).
    """
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts - 1) / 2)[inverse]


def rank_average(badness: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Several scores as one, whatever their units: sum_k w_k r_k / sum_k w_k, with r_k = (rank_k - 1) / (B - 1).

    badness: K tensors (B,), high = bad. weights: K numbers >= 0, not all 0.
    Returns (B,) float64 in [0, 1], 0 = best, 1 = worst; 0.5 for a single image, which has nothing to be compared with.
    An image that is not finite in any of the scores gets NaN, and the others are ranked without it.
    Raises ValueError when the counts, shapes or weights do not fit. Source: Fagin et al. 2003 (Borda count).
    """
    if not badness or len(badness) != len(weights):
        raise ValueError(f"Joining scores needs one weight for each, got {len(badness)} scores and {len(weights)} weights.")
    if any(b.shape != badness[0].shape or b.ndim != 1 for b in badness):
        raise ValueError(f"Scores can only be joined when all have shape (B,), got {[tuple(b.shape) for b in badness]}.")
    if any(not math.isfinite(w) or w < 0 for w in weights) or sum(weights) == 0:
        raise ValueError(f"weights must be 0 or more and not all 0, got {list(weights)}.")
    stacked = torch.stack([b.detach().cpu().double() for b in badness])
    usable = stacked.isfinite().all(dim=0)
    joined = torch.full_like(stacked[0], math.nan)
    joined[usable] = sum(w * unit_ranks(row) for w, row in zip(weights, stacked[:, usable], strict=True)) / sum(weights)
    return joined


def unit_ranks(values: Tensor) -> Tensor:
    """(rank - 1) / (B - 1) of finite values: 0 = smallest, 1 = largest; 0.5 for a single one. (B,) -> (B,) float64."""
    if len(values) == 1:
        return torch.full_like(values, 0.5)
    return (average_ranks(values) - 1) / (len(values) - 1)
