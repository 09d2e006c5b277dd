"""Distances between sets of images in the features of a named extractor: FID, precision and recall."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..files import load_tensors, save_tensors
from ..values import check_count, check_spread, check_tensor, check_text, intact

KIND = "feature statistics"
VERSION = 1
CHUNK = 1024  # rows of a distance matrix held at once
ROUNDING = 1e-12  # of a squared distance, relative to the squared norms it is made of


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Mean and covariance of N features of D numbers, which add up over batches: ``of(first).merge(of(second))``.

    count: N.  mean: (D,) float64.  scatter: (D, D) float64, sum over features of (f - mean)(f - mean)^T.
    extractor: the name of what made the features; it belongs beside every figure.
    """

    count: int
    mean: Tensor
    scatter: Tensor
    extractor: str

    @classmethod
    def of(cls, features: Tensor, extractor: str) -> FeatureStatistics:
        """features: (N, D), N >= 1, finite. Raises ValueError otherwise."""
        features = _checked(features, "features", at_least=1)
        mean = features.mean(dim=0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred, extractor)

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        """Statistics of both sets together. Raises ValueError for another extractor. Source: Chan et al. 1979, eq. 2.1."""
        self._check_same(other)
        count = self.count + other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        scatter = self.scatter + other.scatter + torch.outer(apart, apart) * (self.count * other.count / count)
        return FeatureStatistics(count, mean, scatter, self.extractor)

    @property
    def covariance(self) -> Tensor:
        """(D, D) float64, divisor N - 1. Raises ValueError for a single feature."""
        if self.count < 2:
            raise ValueError(f"A covariance needs at least 2 images, got {self.count}.")
        return self.scatter / (self.count - 1)

    def save(self, path: str | Path) -> None:
        """Write as safetensors. Raises OSError when the file cannot be written."""
        tensors = {"mean": self.mean, "scatter": self.scatter}
        save_tensors(path, tensors, KIND, VERSION, {"count": self.count, "extractor": self.extractor})

    @classmethod
    def load(cls, path: str | Path) -> FeatureStatistics:
        """Read what ``save`` wrote. Raises FileNotFoundError, or ValueError for a truncated, foreign or damaged file."""
        tensors, metadata = load_tensors(path, KIND, VERSION)
        with intact(path, KIND):
            mean = check_tensor("mean", tensors["mean"], (None,)).double()
            scatter = check_spread("scatter", tensors["scatter"], len(mean)).double()
            return cls(check_count("count", metadata["count"], 1), mean, scatter, check_text("extractor", metadata["extractor"]))

    def _check_same(self, other: FeatureStatistics) -> None:
        if (self.extractor, self.mean.shape) != (other.extractor, other.mean.shape):
            mine, theirs = (f"{s.extractor!r} ({len(s.mean)} features)" for s in (self, other))
            raise ValueError(f"Features of {mine} and {theirs} cannot be compared; use one extractor for both.")


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """FID = |mu_a - mu_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2)), in squared units of the features, >= 0.

    The trace of the root is that of (R S_b R)^(1/2) with R = S_a^(1/2), a symmetric matrix, so eigenvalues in float64 do.
    Falls with the number of images (bias of order 1 / N): compare figures of equal counts only.
    Raises ValueError for different extractors or fewer than 2 images. Source: Heusel et al. 2017, eq. 6.
    """
    a._check_same(b)
    values, vectors = torch.linalg.eigh(a.covariance)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    trace_of_root = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp_min(0).sqrt().sum()
    distance = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * trace_of_root
    return max(float(distance), 0.0)  # rounding can leave -1e-12


class PrecisionRecall(NamedTuple):
    """precision: share of generated images that look real.  recall: share of real images that the model can make."""

    precision: float
    recall: float


def precision_recall(real: Tensor, generated: Tensor, k: int = 3) -> PrecisionRecall:
    """Share of one set that lies within the k-th neighbour's distance of some member of the other set, both ways.

    real: (N, D), generated: (M, D), N, M > k, finite, from one extractor. Distances in float64, CHUNK rows at a time.
    Raises ValueError when a shape does not fit. Source: Kynkaanniemi et al. 2019, eq. 1-2.
    """
    if k < 1:
        raise ValueError(f"k (which neighbour) must be at least 1, got {k!r}.")
    real, generated = _checked(real, "real features", k + 1), _checked(generated, "generated features", k + 1)
    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"Features must have one length, got {real.shape[1]} for real and {generated.shape[1]} for generated images.")
    middle = real.mean(dim=0)  # small norms keep the rounding small
    real, generated = real - middle, generated - middle
    return PrecisionRecall(_covered(generated, real, k), _covered(real, generated, k))


def _checked(features: Tensor, name: str, at_least: int) -> Tensor:
    if features.ndim != 2 or features.shape[1] == 0 or len(features) < at_least:
        raise ValueError(f"{name} must have shape (N, D) with N at least {at_least}, got {tuple(features.shape)}.")
    if not bool(features.isfinite().all()):
        raise ValueError(f"{name} must be finite, got NaN or infinite values; leave those images out.")
    return features.detach().cpu().double()  # not every accelerator has float64


def _squared_distances(a: Tensor, b: Tensor, slack: float = 0.0) -> Tensor:
    """(N, D), (M, D) -> (N, M), by one matrix product; lowered by ``slack`` relative to the squared norms."""
    norms = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)
    return (1 - slack) * norms - 2 * a @ b.T


def _covered(points: Tensor, centres: Tensor, k: int) -> float:
    """Share of the points that lie in the ball of at least one centre, which reaches to the centre's k-th nearest other one."""
    # the nearest of all is the centre itself
    reach = torch.cat([_squared_distances(rows, centres).topk(k + 1, largest=False).values[:, k] for rows in centres.split(CHUNK)])
    # with the slack, copies of a centre are inside even where its reach is 0
    inside = torch.cat([(_squared_distances(rows, centres, ROUNDING) <= reach).any(dim=1) for rows in points.split(CHUNK)])
    return float(inside.double().mean())
