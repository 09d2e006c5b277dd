"""The check of a gradient: it passes the true one, and tells how much is missing from another."""

from __future__ import annotations

import pytest
import torch

from references import LEVELS, Calls, ConvDenoiser, gradient, mixture_sample
from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.guidance.gradient_check import gradient_mismatch


@pytest.mark.parametrize(("process", "sigma"), LEVELS)
@pytest.mark.parametrize(("share", "missing"), [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (1.4, 0.4), (-1.0, 2.0)])
def test_it_tells_what_share_of_the_slope_is_missing(process: Process, sigma: float, share: float, missing: float) -> None:
    denoise, level = ConvDenoiser(2).double(), torch.full((2,), sigma, dtype=torch.float64)
    x0, z = (torch.randn(*shape, dtype=torch.float64) for shape in ((2, 2, 3, 3), (3, 1, 2, 3, 3)))
    true = gradient(denoise, x0, sigma, process, z)
    with torch.no_grad():
        mismatch = gradient_mismatch(denoise, x0, share * true, level, process, z, 5e-3)
    # along the same line the measured slope is that of the true gradient
    assert mismatch == pytest.approx(missing, abs=0.02)


def test_it_costs_two_evaluations_a_draw() -> None:
    denoise, _, x0, level = mixture_sample(Process.VE, 1.0)
    calls = Calls(denoise)
    gradient_mismatch(calls, x0, torch.ones_like(x0), level, Process.VE, torch.randn(3, 1, *x0.shape[1:]), 1e-2)
    assert calls.rows == 2 * 3 * len(x0)


def test_an_image_without_gradient_does_not_spoil_the_others() -> None:
    denoise, _, x0, level = mixture_sample(Process.FLOW, 0.5)
    z = torch.randn(3, 1, *x0.shape[1:], dtype=torch.float64)
    g = gradient(denoise, x0.double(), 0.5, Process.FLOW, z)
    g[0] = 0
    assert gradient_mismatch(denoise, x0.double(), g, level.double(), Process.FLOW, z, 1e-3) < 0.02
