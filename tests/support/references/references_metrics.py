"""Slow, obvious re-implementations of the metrics."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.linalg import sqrtm


def rmse(errors) -> float:
    return math.sqrt(sum(e * e for e in errors) / len(errors))


def rmse_left(uncertainty, errors, percent: int) -> float:
    """RMSE of one image after its most uncertain ``percent`` % are gone, averaged in the squares over all orders of ties (small inputs)."""
    count = len(errors)
    kept = count - count * percent // 100
    squares = []
    for order in itertools.permutations(range(count)):
        if all(uncertainty[a] <= uncertainty[b] for a, b in itertools.pairwise(order)):
            squares.append(rmse([errors[i] for i in order[:kept]]) ** 2)
    return math.sqrt(sum(squares) / len(squares))


def rmse_left_without_ties(uncertainty, errors, percent: int) -> float:
    pixels = sorted(zip(uncertainty, errors, strict=True), key=lambda pixel: pixel[0])
    for _ in range(len(pixels) * percent // 100):
        pixels.pop()
    return rmse([error for _, error in pixels])


def area(heights, positions) -> float:
    return sum((positions[i + 1] - positions[i]) * (heights[i] + heights[i + 1]) / 2 for i in range(len(heights) - 1))


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The formula as printed, with the root of a product that is not symmetric."""
    s_a, s_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s_a + s_b - 2 * sqrtm(s_a @ s_b).real))


def covered(points, centres, k: int) -> float:
    """Share of the points within the k-th neighbour's distance of some centre."""
    hits = 0
    for point in points:
        inside = False
        for i, centre in enumerate(centres):
            others = sorted(math.dist(centre, other) for j, other in enumerate(centres) if j != i)
            inside = inside or math.dist(point, centre) <= others[k - 1]
        hits += inside
    return hits / len(points)


def pairs_won(badness, bad) -> float:
    """AUROC as a count: how often a bad image beats a good one."""
    won = [(b > g) + 0.5 * (b == g) for b, x in zip(badness, bad, strict=True) if x for g, y in zip(badness, bad, strict=True) if not y]
    return sum(won) / len(won)
