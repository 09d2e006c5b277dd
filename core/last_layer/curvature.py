"""How sharply the training loss bends in a layer's weights, and the Gaussian over these weights that follows.

Empirical Fisher of loss_n = |output_n - target_n|^2, g_n = d loss_n / d M for the layer's matrix M (O, I) (core.last_layer.layer_algebra):

    precision = prior_precision I + fisher_scale * sum_n g_n g_n^T,   fisher_scale = 1 / (2 noise_variance)

Source: Daxberger et al. 2021 (Laplace Redux); Jazbec et al. 2025, with the factors of laplace-torch's regression likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..options import LaplaceOptions
from ..values import check_tensor
from .layer_algebra import Layer, apply, input_patches, matrix_size, positions, split


class WeightGaussian(Protocol):
    """A Gaussian around a layer's trained weights, made by ``Curvature.gaussian``."""

    def deviation(self, generator: torch.Generator) -> Tensor:
        """A draw minus the mean: (O, I) float32, on the CPU."""
        ...

    def output_variance(self, layer: Layer, features: Tensor) -> Tensor:
        """Variance of each of the layer's outputs for the input ``features``: the output's shape, float32, exact, in one cheap pass."""
        ...


class Curvature(Protocol):
    """Sums over training samples, of constant size; ``add`` returns new sums and leaves the old ones as they are."""

    @classmethod
    def zero(cls, layer: Layer) -> Curvature:
        """Sums over no sample."""
        ...

    def add(self, layer: Layer, features: Tensor, gradient: Tensor) -> Curvature:
        """With N more samples: the layer's input (N, ...) and the loss's gradient for its output (N, ...)."""
        ...

    def gaussian(self, layer: Layer, options: LaplaceOptions) -> WeightGaussian: ...

    def tensors(self) -> dict[str, Tensor]:
        """What a file keeps; the keyword arguments to make it again."""
        ...

    def check(self) -> None:
        """Raises ValueError, naming the sum, for values that no samples add up to."""
        ...


def precision_scale(options: LaplaceOptions) -> float:
    """1 / (2 noise_variance): g_n is the gradient of the plain squared error, that is of twice a unit Gaussian's."""
    return 0.5 / options.noise_variance


def outer_gradients(layer: Layer, features: Tensor, gradient: Tensor) -> Tensor:
    """g_n = sum over positions of (d loss_n / d y_p) a_p^T, in closed form: (O, I) for one sample (1, ...)."""
    return positions(layer, gradient.float())[0] @ input_patches(layer, features.float())[0].T


@dataclass(frozen=True, eq=False)
class Diagonal:
    """squares: (O, I) float64, sum_n g_n^2 for every weight by itself."""

    squares: Tensor

    @classmethod
    def zero(cls, layer: Layer) -> Diagonal:
        return cls(torch.zeros(matrix_size(layer), dtype=torch.float64))

    def add(self, layer: Layer, features: Tensor, gradient: Tensor) -> Diagonal:
        # sample by sample: the patches of one are large enough
        each = (outer_gradients(layer, a, g).square() for a, g in zip(features.split(1), gradient.split(1), strict=True))
        squares = sum(each, start=torch.zeros(()))
        return Diagonal(self.squares + squares.cpu().double())

    def gaussian(self, layer: Layer, options: LaplaceOptions) -> DiagonalGaussian:
        variance = 1 / (options.prior_precision + precision_scale(options) * self.squares)
        return DiagonalGaussian(torch.where(has_gradient(self.squares.sum(dim=1))[:, None], variance, 0.0).float())

    def tensors(self) -> dict[str, Tensor]:
        return {"squares": self.squares}

    def check(self) -> None:
        check_tensor("squares", self.squares, (None, None), low=0)


@dataclass(frozen=True, eq=False)
class DiagonalGaussian:
    """variance: (O, I) float32 of every weight."""

    variance: Tensor

    def deviation(self, generator: torch.Generator) -> Tensor:
        return self.variance.sqrt() * torch.randn(self.variance.shape, generator=generator)

    def output_variance(self, layer: Layer, features: Tensor) -> Tensor:
        """Var(y) = layer(phi^2) with variances for weights: conv(phi^2, Var_W) + Var_b. Source: Kou et al. 2024."""
        weight, bias = split(layer, self.variance.to(features.device))
        return apply(layer, features.float().square(), weight, bias)


def has_gradient(total: Tensor) -> Tensor:
    """Which outputs the loss moves at all. The others (a learned variance, which this loss does not train) keep their trained weights."""
    return total > 0
