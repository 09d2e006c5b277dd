"""A Kronecker-factored Fisher of one layer: how its inputs vary together, times how the gradients of its outputs do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..options import LaplaceOptions
from ..values import check_spread, check_tensor
from .curvature import has_gradient, precision_scale
from .layer_algebra import Convolution, Layer, input_patches, matrix_size, positions


@dataclass(frozen=True, eq=False)
class Kronecker:
    """Sums over samples n and positions p: inputs (I, I) of a_p a_p^T, gradients (O, O) of g_p g_p^T, both float64, and their count.

    sum_n g_n g_n^T  ~  gradients (x) inputs / count, for M row by row. Inputs count as independent of gradients, and positions
    of one another (KFAC-expand). Exact for one sample with one position.
    Source: Martens & Grosse 2015; for convolutions Grosse & Martens 2016, theorem 1; Eschenhagen et al. 2023.
    """

    inputs: Tensor
    gradients: Tensor
    count: Tensor

    @classmethod
    def zero(cls, layer: Layer) -> Kronecker:
        outputs, inputs = (torch.zeros(n, n, dtype=torch.float64) for n in matrix_size(layer))
        return cls(inputs, outputs, torch.zeros((), dtype=torch.int64))

    def add(self, layer: Layer, features: Tensor, gradient: Tensor) -> Kronecker:
        inputs, gradients, count = self.inputs, self.gradients, self.count
        for a, g in zip(features.split(1), gradient.split(1), strict=True):
            a_p, g_p = input_patches(layer, a.float())[0], positions(layer, g.float())[0]
            inputs = inputs + (a_p @ a_p.T).cpu()
            gradients = gradients + (g_p @ g_p.T).cpu()
            count = count + a_p.shape[1]
        return Kronecker(inputs, gradients, count)

    def gaussian(self, layer: Layer, options: LaplaceOptions) -> KroneckerGaussian:
        """In the factors' eigenvectors, with eigenvalues l_G and l_A: precision = prior_precision + scale l_G l_A^T / count."""
        from_inputs, turn_in = torch.linalg.eigh(self.inputs)
        from_outputs, turn_out = torch.linalg.eigh(self.gradients)
        fisher = torch.outer(from_outputs.clamp_min(0), from_inputs.clamp_min(0)) / self.count.clamp_min(1)
        variance = 1 / (options.prior_precision + precision_scale(options) * fisher)
        turn_out = torch.where(has_gradient(self.gradients.diagonal())[:, None], turn_out, 0.0)
        return KroneckerGaussian(turn_out.float(), turn_in.float(), variance.float())

    def tensors(self) -> dict[str, Tensor]:
        return {"inputs": self.inputs, "gradients": self.gradients, "count": self.count}

    def check(self) -> None:
        check_spread("inputs", self.inputs)
        check_spread("gradients", self.gradients)
        check_tensor("count", self.count, (), low=0, whole=True)


@dataclass(frozen=True, eq=False)
class KroneckerGaussian:
    """M = mean + U_out (Z * sqrt(variance)) U_in^T with Z ~ N(0, I): U_out (O, O), U_in (I, I), variance (O, I), float32."""

    turn_out: Tensor
    turn_in: Tensor
    variance: Tensor

    def deviation(self, generator: torch.Generator) -> Tensor:
        z = torch.randn(self.variance.shape, generator=generator)
        return self.turn_out @ (z * self.variance.sqrt()) @ self.turn_in.T

    def output_variance(self, layer: Layer, features: Tensor) -> Tensor:
        """Var(y_p) = U_out^2 variance (U_in^T a_p)^2, squares elementwise."""
        out, turn, variance = (t.to(features.device) for t in (self.turn_out.square(), self.turn_in, self.variance))
        rows = [out @ (variance @ (turn.T @ input_patches(layer, a.float())[0]).square()) for a in features.split(1)]
        return shaped(layer, torch.stack(rows), features)


def shaped(layer: Layer, values: Tensor, features: Tensor) -> Tensor:
    """Values (N, O, P) of every position, in the shape of the layer's output for ``features``."""
    if isinstance(layer, torch.nn.Linear):
        return values.movedim(1, -1).reshape(*features.shape[:-1], values.shape[1])
    sides = [_side(layer, dim, size) for dim, size in enumerate(features.shape[2:])]
    return values.unflatten(2, sides)


def _side(layer: Convolution, dim: int, size: int) -> int:
    """Length of one dimension of a convolution's output."""
    if layer.padding == "same":
        return size
    padding = 0 if isinstance(layer.padding, str) else layer.padding[dim]
    return (size + 2 * padding - layer.dilation[dim] * (layer.kernel_size[dim] - 1) - 1) // layer.stride[dim] + 1
