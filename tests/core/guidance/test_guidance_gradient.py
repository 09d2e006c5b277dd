"""The direction that guidance moves eps in: against whole Jacobians, finite differences and per-pixel loops."""

from __future__ import annotations

import pytest
import torch

from references import LEVELS, GaussianDenoiser, alpha_at, cosine, gradient, mixture_sample, norm, redraws, total_spread
from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.draws import noise
from uncertainty_nodes.core.guidance.step import autograd_gradient, forward_gradient, guide_step
from uncertainty_nodes.core.options import DrawOptions, GuidanceMode, GuidanceOptions, GuidanceUnits
from uncertainty_nodes.core.pixelwise.aleatoric import redraw

SHAPE = (2, 2, 3, 3)

# where signal and noise are alike: at both ends a mixture looks Gaussian, and its gradient sinks into the rounding of float32
CURVED = [(Process.VP, 0.8), (Process.VP, 0.5), (Process.VE, 1.3), (Process.VE, 0.6), (Process.FLOW, 0.57), (Process.FLOW, 0.37)]


@pytest.mark.parametrize(("process", "sigma"), CURVED)
def test_autograd_equals_whole_jacobians(process, sigma):
    denoise, _, x0, level = mixture_sample(process, sigma)
    z = noise(DrawOptions(samples=4), 0, x0)
    g, drawn = autograd_gradient(denoise, x0, level, process, z, GuidanceOptions())
    expected = gradient(denoise, x0, sigma, process, z)
    assert (norm(g - expected) / norm(expected)).max() < 5e-3
    assert torch.allclose(drawn.eps.double(), redraws(denoise, x0, sigma, process, z)[2], atol=1e-4)


@pytest.mark.parametrize(("process", "sigma"), CURVED)
def test_autograd_equals_finite_differences_of_the_sum_of_u(process, sigma):
    denoise, x, x0, level = mixture_sample(process, sigma, (1, 2, 2, 2))
    z = noise(DrawOptions(samples=3), 0, x0)
    eps = (x.double() - alpha_at(process, sigma) * x0.double()) / sigma
    g, _ = autograd_gradient(denoise, x0, level, process, z, GuidanceOptions())
    h, expected = 1e-4, torch.zeros_like(eps)
    for pixel in range(eps.numel()):
        step = torch.zeros(eps.numel(), dtype=torch.float64)
        step[pixel] = h
        up, down = (total_spread(denoise, x.double(), eps + d.view_as(eps), sigma, process, z) for d in (step, -step))
        expected.view(-1)[pixel] = (up - down) / (2 * h)
    assert (norm(g - expected) / norm(expected)).item() < 1e-2


@pytest.mark.parametrize(("process", "sigma"), CURVED)
def test_forward_equals_autograd_where_the_score_is_exact(process, sigma):
    denoise, _, x0, level = mixture_sample(process, sigma)
    z = noise(DrawOptions(samples=4), 0, x0)
    exact, _ = autograd_gradient(denoise, x0, level, process, z, GuidanceOptions())
    drawn = redraw(denoise, x0, level, process, z)
    g = forward_gradient(denoise, drawn, level, process, x0.dtype, GuidanceOptions(step_size=5e-3))
    assert cosine(g, exact).min() > 0.998
    assert (norm(g) / norm(exact) - 1).abs().max() < 0.05


def test_forward_approaches_autograd_as_its_step_shrinks():
    denoise, _, x0, level = mixture_sample(Process.VP, 0.6)
    z = noise(DrawOptions(samples=4), 0, x0)
    exact, _ = autograd_gradient(denoise, x0, level, Process.VP, z, GuidanceOptions())
    drawn = redraw(denoise, x0, level, Process.VP, z)
    errors = []
    for h in (0.1, 0.01, 0.001):
        g = forward_gradient(denoise, drawn, level, Process.VP, x0.dtype, GuidanceOptions(step_size=h))
        errors.append(float((norm(g - exact) / norm(exact)).max()))
    assert errors[1] < errors[0] / 3
    assert errors[2] < 2e-3  # the rounding of float32, divided by h


@pytest.mark.parametrize(("process", "sigma"), LEVELS)
def test_on_gaussian_data_forward_and_autograd_agree_that_there_is_nothing_to_climb(process, sigma):
    """U of a linear model does not depend on x0: both gradients vanish, to 1e-3 of the terms that cancel and the rounding of float32."""
    denoise, options = GaussianDenoiser(process), GuidanceOptions()
    x0, level = torch.randn(SHAPE), torch.full((2,), sigma)
    z = noise(DrawOptions(samples=4), 0, x0)
    exact, drawn = autograd_gradient(denoise, x0, level, process, z, options)
    forward = forward_gradient(denoise, drawn, level, process, x0.dtype, options)
    terms = 2 * sigma / 3 * (1 - alpha_at(process, sigma) * denoise.gain(sigma)) / sigma * (drawn.eps - drawn.eps.mean(dim=0))
    tolerance = 1e-3 * norm(terms.transpose(0, 1)) + 1e-6
    assert (norm(forward - exact) < tolerance).all()
    assert (norm(exact) < tolerance).all()


@pytest.mark.parametrize(("process", "sigma"), [(Process.VP, 0.6), (Process.VE, 1.0), (Process.FLOW, 0.5)])
@pytest.mark.parametrize("mode", [GuidanceMode.FORWARD, GuidanceMode.AUTOGRAD])
def test_a_positive_strength_climbs_u_and_a_negative_one_descends(process, sigma, mode):
    denoise, x, x0, level = mixture_sample(process, sigma, (1, 2, 3, 3))
    draws = DrawOptions(samples=3)

    def total(strength: float) -> float:
        options = GuidanceOptions(strength=strength, draws=draws, mode=mode)
        guided = guide_step(denoise, x, x0, level, process, options, 0).x0
        eps = (x.double() - alpha_at(process, sigma) * guided.double()) / sigma
        return total_spread(denoise, x.double(), eps, sigma, process, noise(draws, 0, x0))

    assert total(-0.02) < total(0.0) < total(0.02)


@pytest.mark.parametrize(("process", "sigma"), LEVELS)
def test_posterior_equals_the_per_pixel_mix(process, sigma):
    denoise, x, x0, level = mixture_sample(process, sigma)
    options = GuidanceOptions(strength=1.0, mode=GuidanceMode.POSTERIOR, units=GuidanceUnits.RAW, draws=DrawOptions(samples=3))
    guided = guide_step(denoise, x, x0, level, process, options, 2)
    _, clean, _ = redraws(denoise, x0, sigma, process, noise(options.draws, 2, x0))
    expected, alpha = torch.empty(SHAPE, dtype=torch.float64), alpha_at(process, sigma)
    for pixel in torch.cartesian_prod(*[torch.arange(n) for n in SHAPE]).tolist():
        values = [float(draw[tuple(pixel)]) for draw in clean]
        mean = sum(values) / 3
        spread = sum((v - mean) ** 2 for v in values) / 2
        prior, likelihood = (alpha / sigma) ** 2, 3 / spread
        expected[tuple(pixel)] = (prior * float(x0[tuple(pixel)]) + likelihood * mean) / (prior + likelihood)
    assert torch.allclose(guided.x0.double(), expected, rtol=1e-3, atol=1e-4)
