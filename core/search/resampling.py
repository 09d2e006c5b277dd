"""Particle steering: copies of the best candidates take the place of the worst."""

from __future__ import annotations

import torch
from torch import Tensor


def weigh(badness: Tensor, sharpness: float) -> Tensor:
    """w_i proportional to exp(-sharpness z_i), z = badness less its mean, over its standard deviation. (B,) -> (B,) float64, sum 1.

    What is not finite weighs 0. Where nothing is finite, all weigh the same.
    Source: the Feynman-Kac weights of Singhal et al. 2025 (arXiv 2501.06848), with a standardised reward.
    """
    finite = badness.isfinite()
    if not bool(finite.any()):
        return torch.full((len(badness),), 1 / len(badness), dtype=torch.float64)
    values = badness.detach().cpu().double()[finite.cpu()]
    z = (values - values.mean()) / values.std(correction=0) if values.min() < values.max() else torch.zeros_like(values)
    weights = torch.zeros(len(badness), dtype=torch.float64)
    weights[finite.cpu()] = (-sharpness * z).softmax(dim=0)
    return weights


def systematic_counts(weights: Tensor, count: int, start: float) -> Tensor:
    """How many copies of each of B particles are drawn, (B,) int64, ``count`` in all: floor or ceil of count * w_i, on average just that.

    One uniform number ``start`` in [0, 1) places ``count`` evenly spaced points (start + k) / count on the cumulated weights.
    weights: (B,) >= 0 with sum 1. Source: Carpenter et al. 1999; Douc et al. 2005, section 2.3.
    """
    edges = weights.double().cumsum(dim=0)
    edges = edges / edges[-1]
    points = (start + torch.arange(count, dtype=torch.float64)) / count
    drawn = torch.searchsorted(edges, points, right=True).clamp_max(len(weights) - 1)
    return torch.bincount(drawn, minlength=len(weights))


def place_copies(counts: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(rows, sources): row ``rows[k]`` goes on from the state of row ``sources[k]``; rows rise.

    A row that is drawn at least once goes on from itself. Further copies take the rows that were not drawn, lowest first. The others end.
    """
    every = counts.tolist()
    survivors = [(i, i) for i, count in enumerate(every) if count > 0]
    copies = [i for i, count in enumerate(every) for _ in range(count - 1)]
    free = [i for i, count in enumerate(every) if count == 0]
    pairs = sorted(survivors + list(zip(free, copies, strict=False)))
    return tuple(row for row, _ in pairs), tuple(source for _, source in pairs)
