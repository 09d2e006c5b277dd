"""Does a map of uncertainty point at the errors? Sparsification curves, AUSE and AURG."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PERCENTS = tuple(range(0, 100, 2))  # of the pixels, removed


@dataclass(frozen=True, eq=False)
class Sparsification:
    """RMSE of what is left of each of B images when a growing share of its pixels is removed, all float64.

    fractions: (F,) removed: 0, 0.02, .. 0.98.       curve: (B, F) the most uncertain pixels removed first.
    oracle: (B, F) the largest errors removed first.  random: (B, F) pixels removed at random: the RMSE of the whole image.
    """

    fractions: Tensor
    curve: Tensor
    oracle: Tensor
    random: Tensor

    @property
    def ause(self) -> Tensor:
        """(B,) area between curve and oracle >= 0, in units of the error; lower is better. Source: Ilg et al. 2018, section 5.1."""
        return torch.trapezoid(self.curve - self.oracle, self.fractions)

    @property
    def aurg(self) -> Tensor:
        """(B,) area between random and curve, in units of the error; higher is better. Source: Poggi et al. 2020, section 4.2."""
        return torch.trapezoid(self.random - self.curve, self.fractions)


def sparsification(bad_maps: Tensor, errors: Tensor) -> Sparsification:
    """Sparsification curves of each image by itself; average ``ause`` and ``aurg`` over images for the published figure.

    RMSE_f = sqrt(mean of error^2 over the ceil((1 - f) N) most certain values)

    bad_maps: (B, ...) uncertainty, high = unsure.   errors: (B, ...) of the same shape, signed or absolute.
    Every value counts as one pixel; equal uncertainties share their mean squared error, so order within ties has no say.
    Raises ValueError when shapes differ, the batch is empty or a value is not finite.
    """
    if bad_maps.shape != errors.shape or bad_maps.ndim < 2 or bad_maps.numel() == 0:
        raise ValueError(f"Maps and errors must have one shape (B, ...), got {tuple(bad_maps.shape)} and {tuple(errors.shape)}.")
    if not bool(bad_maps.isfinite().all() and errors.isfinite().all()):
        raise ValueError("Maps and errors must be finite, got NaN or infinite values; leave those images out.")
    squared = errors.detach().cpu().double().flatten(1).square()
    keys = bad_maps.detach().cpu().flatten(1)
    curve = torch.stack([_rmse_left(key, errors) for key, errors in zip(keys, squared, strict=True)])
    oracle = torch.stack([_rmse_left(errors, errors) for errors in squared])
    random = squared.mean(dim=1, keepdim=True).sqrt().expand_as(curve)
    fractions = torch.tensor(PERCENTS, dtype=torch.float64) / 100
    return Sparsification(fractions, curve, oracle, random)


def _rmse_left(key: Tensor, squared: Tensor) -> Tensor:
    """(N,), (N,) -> (F,): RMSE after removing each share of the values with the highest key."""
    key, order = key.sort()
    _, tie, size = torch.unique_consecutive(key, return_inverse=True, return_counts=True)
    shared = torch.zeros_like(size, dtype=squared.dtype).index_add_(0, tie, squared[order]) / size
    kept = torch.tensor([len(key) - len(key) * percent // 100 for percent in PERCENTS])
    return (shared[tie].cumsum(0)[kept - 1] / kept).sqrt()
