"""Whether a gradient that autograd gave is the true one: some kernels detach part of the graph without a word."""

from __future__ import annotations

import torch
from torch import Tensor

from ..denoiser import Denoiser, Process, expand
from ..pixelwise.aleatoric import redraw


def gradient_mismatch(
    denoise: Denoiser, x0: Tensor, g: Tensor, sigma: Tensor, process: Process, z: Tensor, step_size: float, micro_batch: int = 1
) -> float:
    """How far the slope that g promises is from the one measured, relative to the latter; 0 = right, 1 = all of it is missing.

    For f = sum(U), U the variance over the M redraws of x0 with z fixed, and u = g / rms(g) of each image:
    promised  <grad f, u> with grad f = -(alpha / sigma) g,
    measured  (f(x0 + h u) - f(x0 - h u)) / 2h, with h = step_size * sqrt(alpha^2 + sigma^2) / alpha.
    x0, g: (B, C, ...); g as ``guidance.autograd_gradient`` gives it. An image of g = 0 has no line to measure along and is left
    out, as is one that is not finite; where all are, 1 is returned. sigma (B,) with alpha > 0; z (M, 1 or B, C, ...).
    2 M evaluations per image.
    """
    if not bool(g.nan_to_num().any()):
        return 1.0
    s = expand(sigma, x0)
    alpha = process.alpha(s)
    rms = g.flatten(1).square().mean(dim=1).sqrt().view_as(s)
    u = g / rms.clamp_min(torch.finfo(torch.float32).tiny)
    h = step_size * (alpha.square() + s.square()).sqrt() / alpha

    def total(side: int) -> Tensor:
        eps = redraw(denoise, x0 + side * h * u, sigma, process, z, micro_batch).eps
        return eps.double().var(dim=0).flatten(1).sum(dim=1)

    measured = (total(1) - total(-1)) / (2 * h.flatten())
    promised = (-(alpha / s) * g * u).double().flatten(1).sum(dim=1)
    sound = measured.isfinite() & promised.isfinite()
    measured, promised = measured[sound], promised[sound]
    return float((measured - promised).abs().sum() / measured.abs().sum().clamp_min(1e-30)) if len(measured) else 1.0
