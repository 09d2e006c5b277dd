"""ComfyUI host: what a network itself says, and the loss that it was trained on, for models of every kind.

ComfyUI makes denoised = u x + w y of a network's output y, with u and w that depend on the noise level and the kind of model
(eps, v, EDM, x0, flow matching). Both can be read off ``calculate_denoised``, so no kind has to be known by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....core.denoiser import Prediction, Process, add_noise
from ....core.last_layer.fit import Training
from ..model import process_of

Denoise = Callable[[Tensor, Tensor], Tensor]


def affine(sampling: Any, sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """(u, w) at sigma (N,), each (N, 1, ..) to multiply x (N, C, ...) with."""
    one = torch.ones((len(sigma), *[1] * (x.ndim - 1)), device=x.device)
    zero, sigma = torch.zeros_like(one), sigma.to(one)
    return sampling.calculate_denoised(sigma, zero.clone(), one.clone()), sampling.calculate_denoised(sigma, one.clone(), zero.clone())


def own_output(denoise: Denoise, sampling: Any, x: Tensor, sigma: Tensor) -> Tensor:
    """y = (denoised - u x) / w: what the network said at x (N, C, ...) and sigma (N,), ready for autograd."""
    if not torch.is_inference_mode_enabled():  # then autograd may start: it cannot keep what inference mode has made
        x, sigma = x.clone(), sigma.clone()
    u, w = affine(sampling, sigma, x)
    return (denoise(x, sigma) - u * x) / w


@dataclass(frozen=True, eq=False)
class NativeTraining(Training):
    """The loss |y - y*|^2, where y* is the output that ComfyUI would make x0 of. prediction is not asked."""

    sampling: Any

    def target(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """y* = (x0 - u x) / w. Shapes (B, C, ...), sigma (B,)."""
        x = add_noise(x0, noise, sigma, self.process)
        u, w = affine(self.sampling, sigma, x)
        return (x0 - u * x) / w


def training(sampling: Any, conditioned: Callable[[Any], Denoise]) -> NativeTraining:
    """For ``core.last_layer.fit`` and ``core.ensemble.training``, in the coordinates of the host's samplers.

    sampling: the model's ``model_sampling``.  conditioned: from what the algorithm knows of a batch, its denoiser.
    Levels: all of the model's own schedule, evenly, whatever density it was trained with.
    Raises ValueError for a model whose process is not understood.
    """

    def predict(x: Tensor, sigma: Tensor, cond: Any) -> Tensor:
        return own_output(conditioned(cond), sampling, x, sigma)

    process = process_of(sampling)
    prediction = Prediction.FLOW if process is Process.FLOW else Prediction.EPS
    return NativeTraining(predict, process, prediction, sampling.sigmas.detach().float().cpu().clone(), sampling)
