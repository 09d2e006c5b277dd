"""Whether a gradient that autograd gave is the true one: some kernels detach part of the graph without a word."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..denoiser import Denoiser, Process, expand
from ..draws import noise
from ..options import HALF_STEP_SIZE, GuidanceOptions
from ..pixelwise.aleatoric import redraw
from .step import autograd_gradient

MOST_MISMATCH = 0.1  # of a slope; a graph that is cut in a few places is off by more
MOST_MISMATCH_IN_HALF = 0.3


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


def trial(options: GuidanceOptions) -> GuidanceOptions:
    """Two draws, one after the other, are enough to see whether a gradient is true."""
    return replace(options, draws=replace(options.draws, samples=2, micro_batch=1))


def trial_gradient(smooth: Denoiser, x0: Tensor, sigma: Tensor, process: Process, options: GuidanceOptions) -> Tensor:
    """The gradient of ``trial``. smooth: the model in a state in which autograd works. 2 evaluations per image."""
    g, _ = autograd_gradient(smooth, x0, sigma, process, noise(trial(options).draws, 0, x0), trial(options))
    return g


def check_trial(denoise: Denoiser, g: Tensor, x0: Tensor, sigma: Tensor, process: Process, options: GuidanceOptions) -> None:
    """Compare what ``trial_gradient`` gave with one finite difference of the untouched model: 4 evaluations per image.

    Raises RuntimeError when it promises what the model does not do.
    """
    mismatch = gradient_mismatch(denoise, x0.float(), g, sigma, process, noise(trial(options).draws, 0, x0), options.step_size)
    most = MOST_MISMATCH_IN_HALF if options.step_size >= HALF_STEP_SIZE else MOST_MISMATCH
    if not mismatch <= most:  # NaN too
        raise RuntimeError(f"its gradient is {mismatch:.0%} off what a finite difference shows")
