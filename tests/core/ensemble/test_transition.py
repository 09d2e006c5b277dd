"""One step to the next noise level, against the process itself and Bayes' rule, in all coordinates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from references import alpha_at
from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.ensemble.paide import Outcomes, kl
from uncertainty_nodes.core.ensemble.transition import ancestral_step, ode_step, outcome
from uncertainty_nodes.core.options import Distance

STEPS = [
    (Process.VP, 0.98, 0.6),
    (Process.VP, 0.3, 0.1),
    (Process.VE, 14.6, 3.0),
    (Process.VE, 0.5, 0.03),
    (Process.FLOW, 1.0, 0.8),
    (Process.FLOW, 0.4, 0.1),
]


def draw(count: int = 2, shape: tuple[int, ...] = (2, 3, 4)) -> list[Tensor]:
    g = torch.Generator().manual_seed(4)
    return [torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(count)]


@pytest.mark.parametrize(("process", "sigma", "following"), [*STEPS, (Process.VE, 0.5, 0.0), (Process.FLOW, 0.2, 0.0)])
def test_with_the_true_clean_sample_the_ode_keeps_its_noise(process, sigma, following):
    x0, n = draw()
    found = ode_step(alpha_at(process, sigma) * x0 + sigma * n, x0, sigma, following, process)
    torch.testing.assert_close(found, alpha_at(process, following) * x0 + following * n)


def test_the_last_step_is_the_prediction_itself_and_half_precision_is_widened():
    x, x0 = (d.half() for d in draw())
    for process, sigma in [(Process.VP, 0.1), (Process.VE, 0.03), (Process.FLOW, 0.05)]:
        found = ode_step(x, x0, sigma, 0.0, process)
        assert found.dtype == torch.float32 and torch.equal(found, x0.float())


@pytest.mark.parametrize(("process", "sigma", "following"), STEPS)
def test_the_ancestral_step_is_bayes_rule(process, sigma, following):
    """p(x' | x, x0) ~ N(x'; alpha' x0, sigma'^2) N(x; a x', sigma^2 - a^2 sigma'^2), in precisions."""
    x, x0 = draw()
    after = alpha_at(process, following)
    a = alpha_at(process, sigma) / after
    prior, likelihood = 1 / following**2, 1 / (sigma**2 - a**2 * following**2)
    variance = 1 / (prior + a**2 * likelihood)
    mean, found = ancestral_step(x, x0, sigma, following, process)
    assert found == pytest.approx(variance, rel=1e-9)
    torch.testing.assert_close(mean, variance * (prior * after * x0 + a * likelihood * x))


def snr(process: Process, sigma: float) -> float:
    return (alpha_at(process, sigma) / sigma) ** 2


@pytest.mark.parametrize(("process", "sigma", "following"), STEPS)
def test_two_predictions_from_one_sample_differ_by_the_gain_in_snr(process, sigma, following):
    """KL = 1/2 (SNR' - SNR) |x0_p - x0_q|^2; Kingma et al. 2021, the diffusion loss. Bhattacharyya is a quarter of it."""
    x, *clean = draw(3)
    p, q = (outcome(x, x0, sigma, following, process, Distance.KL) for x0 in clean)
    expected = (snr(process, following) - snr(process, sigma)) / 2 * (clean[0] - clean[1]).square()
    torch.testing.assert_close(kl(p, q), expected, rtol=1e-5, atol=1e-9)


def coordinates(process: Process, sigma_vp: float) -> tuple[float, float]:
    """(what x of VP is multiplied with, sigma) in another process's coordinates."""
    scale = {Process.VP: 1.0, Process.VE: 1 / alpha_at(Process.VP, sigma_vp), Process.FLOW: 1 / (alpha_at(Process.VP, sigma_vp) + sigma_vp)}
    return scale[process], scale[process] * sigma_vp


@pytest.mark.parametrize("process", [Process.VE, Process.FLOW])
@pytest.mark.parametrize("distance", list(Distance))
@pytest.mark.parametrize(("sigma", "following"), [(0.95, 0.7), (0.5, 0.2)])
def test_the_outcome_is_the_same_in_all_coordinates(process, distance, sigma, following):
    x, x0 = draw()
    expected = outcome(x, x0, sigma, following, Process.VP, distance)
    (scale, level), (_, next_level) = coordinates(process, sigma), coordinates(process, following)
    found = outcome(scale * x, x0, level, next_level, process, distance)
    torch.testing.assert_close(found.mean, expected.mean)
    if distance is Distance.W2:
        assert found.variance is None
    else:
        torch.testing.assert_close(found.variance, expected.variance)


@pytest.mark.parametrize(("sigma", "following"), [(0.5, 0.0), (0.5, 0.5), (0.5, 0.6)])
def test_where_no_noise_is_drawn_there_is_no_gaussian_to_compare(sigma, following):
    x, x0 = draw()
    assert outcome(x, x0, sigma, following, Process.FLOW, Distance.KL) is None
    points = outcome(x, x0, sigma, following, Process.FLOW, Distance.W2)
    expected = ode_step(x, x0, sigma, following, Process.FLOW) / math.hypot(1 - following, following)
    assert isinstance(points, Outcomes) and torch.equal(points.mean, expected)
