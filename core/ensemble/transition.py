"""One sampling step from noise level sigma to the next, given the prediction of x0: as a point and as a distribution."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..denoiser import Process
from ..options import Distance
from .paide import Outcomes


def alpha_at(sigma: float, process: Process) -> float:
    return float(process.alpha(torch.tensor(sigma, dtype=torch.float64)))


def ode_step(x: Tensor, x0: Tensor, sigma: float, following: float, process: Process) -> Tensor:
    """x' = alpha' x0 + sigma' eps with eps = (x - alpha x0) / sigma: from level ``sigma`` > 0 to ``following`` >= 0.

    DDIM with eta = 0 for VP, Euler's step for VE and flow. x, x0: (N, C, ...), any float dtype; returns float32 or wider.
    Source: Song et al. 2021 (DDIM), eq. 12.
    """
    x, x0 = widen(x), widen(x0)
    return alpha_at(following, process) * x0 + following / sigma * (x - alpha_at(sigma, process) * x0)


def ancestral_step(x: Tensor, x0: Tensor, sigma: float, following: float, process: Process) -> tuple[Tensor, float]:
    """Mean (N, C, ...) and variance of p(x' | x, x0), the Gaussian from which DDPM draws its next sample.

    With a = alpha / alpha' and b = sigma^2 - a^2 sigma'^2:  mean = (a sigma'^2 x + alpha' b x0) / sigma^2,
    variance = b sigma'^2 / sigma^2; 0 at the last step, where sigma' = 0. For sigma > sigma'.
    Source: Ho et al. 2020 (DDPM), eq. 6-7; Kingma et al. 2021 (VDM), appendix A, for any alpha and sigma.
    """
    after = alpha_at(following, process)
    a = alpha_at(sigma, process) / after
    b = sigma**2 - (a * following) ** 2
    mean = (a * following**2 * widen(x) + after * b * widen(x0)) / sigma**2
    return mean, b * following**2 / sigma**2


def outcome(x: Tensor, x0: Tensor, sigma: float, following: float, process: Process, distance: Distance) -> Outcomes | None:
    """What a step makes of x, to be compared: the sample of ``ode_step`` for W2, the Gaussian of ``ancestral_step`` for the others.

    In variance-preserving coordinates, x' / sqrt(alpha'^2 + sigma'^2), so that a distance is the same in every host.
    None where the Gaussian is a point, as at the last step.
    """
    scale = math.hypot(alpha_at(following, process), following)
    if distance is Distance.W2:
        return Outcomes(ode_step(x, x0, sigma, following, process) / scale)
    if not 0 < following < sigma:
        return None
    mean, variance = ancestral_step(x, x0, sigma, following, process)
    return Outcomes(mean / scale, mean.new_tensor(variance / scale**2))


def widen(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
