"""The one contract of the pack: ``denoise(x, sigma) -> x0`` on a Gaussian process.

Every host's parametrisation is ``x = alpha * x0 + sigma * n`` with ``n ~ N(0, I)``. The algorithms know nothing
else about a model. Shapes: ``x, x0, eps`` are (N, C, ...) of any rank, ``sigma`` is (N,) or a scalar.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

import torch
from torch import Tensor


class Denoiser(Protocol):
    """``denoise(x, sigma) -> x0``: the model's estimate of the clean sample, E[x0 | x].

    x: (N, C, ...), sigma: (N,), returns (N, C, ...). When the algorithms ask for M draws of a batch of B they pass
    N = m * B samples in the order (M, B): index n is image n % B. A condition is therefore repeated by tiling.
    """

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor: ...


class Process(str, Enum):
    """How much of the clean sample is left at noise level sigma: ``alpha(sigma)``."""

    VP = "vp"  # DDPM / DDIM in their own coordinates: alpha^2 + sigma^2 = 1
    VE = "ve"  # k-diffusion, ComfyUI (eps and v models), EDM: alpha = 1
    FLOW = "flow"  # flow matching (SD3, Flux, Wan): alpha = 1 - sigma

    def alpha(self, sigma: Tensor) -> Tensor:
        """alpha(sigma), elementwise, float32 or wider. Source: Karras et al. 2022 (EDM), table 1; flow: Lipman et al. 2023."""
        sigma = sigma.to(torch.promote_types(sigma.dtype, torch.float32))
        if self is Process.VP:
            return (1 - sigma.square()).clamp_min(0).sqrt()
        if self is Process.VE:
            return torch.ones_like(sigma)
        return 1 - sigma


class Prediction(str, Enum):
    """What a network was trained to output."""

    EPS = "epsilon"  # the noise n
    V = "v_prediction"  # alpha * n - sigma * x0 (VP coordinates; Salimans & Ho 2022, appendix D)
    X0 = "sample"  # the clean sample
    FLOW = "flow"  # the velocity n - x0


def expand(sigma: Tensor, x: Tensor) -> Tensor:
    """sigma, a scalar or (N,), as (N, 1, ..., 1) of x's rank and device, float32 or wider, to multiply x with."""
    sigma = torch.as_tensor(sigma, device=x.device)
    sigma = sigma.to(torch.promote_types(sigma.dtype, torch.float32))
    if sigma.ndim == 0:
        sigma = sigma.expand(x.shape[0])
    if sigma.shape != (x.shape[0],):
        raise ValueError(f"sigma must be a scalar or one value per sample ({x.shape[0]}), got shape {tuple(sigma.shape)}.")
    return sigma.view(-1, *[1] * (x.ndim - 1))


def add_noise(x0: Tensor, noise: Tensor, sigma: Tensor, process: Process) -> Tensor:
    """x = alpha * x0 + sigma * n. Shapes: x0, noise (N, C, ...), sigma (N,). Source: De Vita & Belagiannis 2024, eq. 2."""
    s = expand(sigma, x0)
    return process.alpha(s) * x0 + s * noise


def eps_from_x0(x: Tensor, x0: Tensor, sigma: Tensor, process: Process) -> Tensor:
    """eps = (x - alpha * x0) / sigma. Shapes (N, C, ...); sigma (N,) > 0. Source: De Vita & Belagiannis 2024, eq. 7 solved for eps."""
    s = expand(sigma, x)
    return (x - process.alpha(s) * x0) / s


def x0_from_eps(x: Tensor, eps: Tensor, sigma: Tensor, process: Process) -> Tensor:
    """x0 = (x - sigma * eps) / alpha. Undefined where alpha = 0. Source: De Vita & Belagiannis 2024, eq. 7."""
    s = expand(sigma, x)
    return (x - s * eps) / process.alpha(s)


def x0_from_output(output: Tensor, x: Tensor, sigma: Tensor, process: Process, prediction: Prediction) -> Tensor:
    """The clean sample that a network's native output stands for.

    eps: x0 = (x - sigma eps) / alpha;  v: x0 = (alpha x - sigma v) / (alpha^2 + sigma^2);  flow: x0 = (x - sigma v) / (alpha + sigma).
    The v formula holds in VP coordinates; convert with ``ve_to_vp`` first. Shapes (N, C, ...), sigma (N,).
    Raises ValueError for v-prediction outside VP coordinates.
    """
    s = expand(sigma, x)
    alpha = process.alpha(s)
    if prediction is Prediction.X0:
        return output
    if prediction is Prediction.EPS:
        return (x - s * output) / alpha
    if prediction is Prediction.FLOW:
        return (x - s * output) / (alpha + s)
    if process is not Process.VP:
        raise ValueError(f"v-prediction is defined in VP coordinates, got process {process.value!r}; convert x and sigma with ve_to_vp.")
    return alpha * x - s * output


def output_from_x0(x0: Tensor, x: Tensor, sigma: Tensor, process: Process, prediction: Prediction) -> Tensor:
    """Inverse of ``x0_from_output``: eps = (x - alpha x0) / sigma, v = (alpha x - x0) / sigma, flow velocity = eps - x0."""
    if prediction is Prediction.X0:
        return x0
    if prediction is Prediction.EPS:
        return eps_from_x0(x, x0, sigma, process)
    if prediction is Prediction.FLOW:
        return eps_from_x0(x, x0, sigma, process) - x0
    if process is not Process.VP:
        raise ValueError(f"v-prediction is defined in VP coordinates, got process {process.value!r}; convert x and sigma with ve_to_vp.")
    s = expand(sigma, x)
    return (process.alpha(s) * x - x0) / s


def ve_to_vp(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """k-diffusion coordinates to VP: sigma_vp = sigma / sqrt(1 + sigma^2), x_vp = x / sqrt(1 + sigma^2)."""
    scale = (1 + expand(sigma, x).square()).sqrt()
    return x / scale, sigma / (1 + sigma.to(scale.dtype).square()).sqrt()


def vp_to_ve(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """VP coordinates to k-diffusion: sigma_ve = sigma / alpha, x_ve = x / alpha, with alpha = sqrt(1 - sigma^2)."""
    return x / Process.VP.alpha(expand(sigma, x)), sigma / Process.VP.alpha(sigma)


def check_step(x: Tensor, x0: Tensor, sigma: Tensor) -> Tensor:
    """sigma as (B,) float32. Raises ValueError, in a sentence, for what no estimate can be made of."""
    if x.shape != x0.shape or x.ndim < 2:
        raise ValueError(f"x and its prediction must share one shape (batch, channels, ...), got {tuple(x.shape)} and {tuple(x0.shape)}.")
    if x.shape[0] == 0:
        raise ValueError("The batch is empty: give at least one latent.")
    sigma = torch.as_tensor(sigma, device=x.device, dtype=torch.float32)
    sigma = sigma.expand(x.shape[0]) if sigma.ndim == 0 else sigma
    if sigma.shape != (x.shape[0],):
        raise ValueError(f"sigma must be a scalar or one value per image ({x.shape[0]}), got shape {tuple(sigma.shape)}.")
    usable = (sigma > 0) & sigma.isfinite()
    if not bool(usable.all()):
        seen = float(sigma[~usable][0])
        raise ValueError(f"sigma must be finite and above 0 (at 0 no noise is left to redraw), got {seen:g}; end the window earlier.")
    return sigma


def check_latents(latents: Tensor) -> None:
    """Raises ValueError, in a sentence, for finished samples that cannot be scored. One that is NaN is scored NaN, beside the others."""
    if latents.ndim < 2:
        raise ValueError(f"latents must have the shape (batch, channels, ...), got {tuple(latents.shape)}.")
    if latents.shape[0] == 0:
        raise ValueError("The batch is empty: give at least one latent.")


def finite_rows(x: Tensor) -> Tensor:
    """Which samples (N, ...) are finite in every value: (N,) bool."""
    return x.flatten(1).isfinite().all(dim=1) if x.ndim > 1 else x.isfinite()


class CountedDenoiser:
    """A Denoiser that counts what was run: ``rows`` network passes, ``passes`` of them per sample (2 under CFG).

    Counted on entry: checkpointing stops a recomputed call before it returns.
    """

    def __init__(self, denoise: Denoiser, passes: int = 1) -> None:
        self.denoise, self.passes, self.rows = denoise, passes, 0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.rows += x.shape[0] * self.passes
        return self.denoise(x, sigma)


def output_shift(correction: Tensor, sigma: Tensor, process: Process, prediction: Prediction) -> Tensor:
    """How a network's native output moves when eps moves by ``correction`` at fixed x: d output / d eps * correction.

    1 for eps, -sigma / alpha for x0, 1 / alpha for v (alpha^2 + sigma^2 = 1) and for flow velocity (alpha + sigma = 1).
    Shapes (N, C, ...), sigma (N,). Undefined where alpha = 0, except for eps.
    """
    if prediction is Prediction.EPS:
        return correction
    s = expand(sigma, correction)
    if prediction is Prediction.X0:
        return -s / process.alpha(s) * correction
    return correction / process.alpha(s)
