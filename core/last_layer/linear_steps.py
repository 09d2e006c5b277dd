"""The steps of deterministic samplers as what they are: linear in the sample and in the network's outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..denoiser import Prediction, Process, x0_from_output


@dataclass(frozen=True)
class LinearStep:
    """x' = a x + b y + c x0_before, with y the network's own output (eps, velocity, ..), and x0 = u x + w y.

    x0_before: the clean prediction of the step before; c = 0 for one-step samplers.  clean: (u, w).
    """

    a: float
    b: float
    c: float
    clean: tuple[float, float]


def ddim_step(sigma: float, after: float, process: Process, prediction: Prediction) -> LinearStep:
    """x' = alpha' x0 + sigma' eps with eps = (x - alpha x0) / sigma, from level sigma > 0 to level after >= 0. No noise is added.

    In VE and flow coordinates this is Euler's step. Raises ValueError unless 0 <= after <= sigma, and where alpha = 0 leaves no x0.
    Source: Song et al. 2021 (DDIM), eq. 12.
    """
    if not 0 <= after <= sigma:  # equal: some schedules of diffusers end with a step that stays
        raise ValueError(f"A sampler's step must not raise the noise level or pass 0, got {sigma:g} to {after:g}.")
    u, w = _clean(sigma, process, prediction)
    ratio = after / sigma
    gain = _alpha(after, process) - ratio * _alpha(sigma, process)
    return LinearStep(ratio + gain * u, gain * w, 0.0, (u, w))


def dpmpp_2m_step(sigma: float, after: float, before: float | None, process: Process, prediction: Prediction) -> LinearStep:
    """x' = (sigma' / sigma) x + alpha' (1 - e^-h) ((1 + 1 / 2r) x0 - 1 / (2r) x0_before), h = lambda' - lambda, r = h_before / h.

    lambda = log(alpha / sigma). before: the level of the step before, None on the first step. That one is DDIM's, and so is the one to 0.
    Raises what ``ddim_step`` raises, and ValueError unless before > sigma, or where alpha = 0 there.
    Source: Lu et al. 2022 (DPM-Solver++), algorithm 2.
    """
    first = ddim_step(sigma, after, process, prediction)
    if before is None or after in (0, sigma):
        return first
    if not before > sigma or _alpha(before, process) == 0:
        raise ValueError(f"The level before {sigma:g} must be higher and leave some of the image, got {before:g}; pass None after it.")
    now, then, past = (math.log(_alpha(s, process) / s) for s in (sigma, after, before))
    half = (then - now) / (now - past) / 2  # 1 / 2r
    gain = -_alpha(after, process) * math.expm1(now - then)
    u, w = first.clean
    return LinearStep(after / sigma + gain * (1 + half) * u, gain * (1 + half) * w, -gain * half, first.clean)


def _clean(sigma: float, process: Process, prediction: Prediction) -> tuple[float, float]:
    """(u, w), read off ``x0_from_output`` at (x, y) = (1, 0) and (0, 1)."""
    x, y = torch.eye(2, dtype=torch.float64)[:, :, None]
    u, w = x0_from_output(y, x, torch.tensor(sigma, dtype=torch.float64), process, prediction).flatten().tolist()
    if not math.isfinite(u) or not math.isfinite(w):
        raise ValueError(f"At sigma {sigma:g} nothing of the image is left for prediction {prediction.value!r}; start at a lower level.")
    return u, w


def _alpha(sigma: float, process: Process) -> float:
    return float(process.alpha(torch.tensor(sigma, dtype=torch.float64)))
