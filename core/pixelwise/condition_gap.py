"""Condition gap: how far the predictions with and without the condition are apart, under classifier-free guidance."""

from __future__ import annotations

from torch import Tensor

from ..denoiser import Process, expand
from ..options import GapWeight


def condition_gap(conditional: Tensor, unconditional: Tensor, sigma: Tensor, process: Process, weight: GapWeight) -> Tensor:
    """One step's gap per pixel: |eps(c) - eps(none)|^2 = SNR |x0(c) - x0(none)|^2 with SNR = alpha^2 / sigma^2; ``image``: without SNR.

    conditional, unconditional: predictions of x0, (B, C, ...), any float dtype; sigma: (B,) > 0. Returns (B, C, ...) float32.
    Source: arXiv 2505.23343, which sums the noise's over the steps.
    """
    gap = (conditional.float() - unconditional.float()).square()
    if weight is GapWeight.IMAGE:
        return gap
    s = expand(sigma, gap)
    return gap * (process.alpha(s) / s).square()
