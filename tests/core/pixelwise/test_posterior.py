"""The posterior variance against closed forms: Gaussians, a mixture of two, and what U and V say of the same draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from references import ConvDenoiser
from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.draws import noise
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions
from uncertainty_nodes.core.pixelwise.aleatoric import estimate_aleatoric_step
from uncertainty_nodes.core.pixelwise.posterior import posterior_variance

PIXELS = 5


def white_draws(count: int) -> Tensor:
    """(M, 1, pixels) whose mean is 0 and whose covariance is I exactly, so that no chance is left in a linear model."""
    generator = torch.Generator().manual_seed(0)
    columns = torch.cat([torch.ones(count, 1), torch.randn(count, PIXELS, generator=generator)], dim=1).double()
    return (torch.linalg.qr(columns).Q[:, 1:] * (count - 1) ** 0.5)[:, None]


@pytest.mark.parametrize("process", Process)
@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
def test_of_gaussian_data_it_is_the_posterior_variance_wherever_the_prediction_lies(process, level):
    generator, eye = torch.Generator().manual_seed(1), torch.eye(PIXELS, dtype=torch.float64)
    root = torch.randn(PIXELS, PIXELS, generator=generator).double()
    prior, mean = root @ root.T, torch.randn(PIXELS, generator=generator).double()
    sigma = torch.tensor([level, level], dtype=torch.float64)
    alpha = process.alpha(sigma)[0]
    gain = alpha * prior @ torch.linalg.inv(alpha**2 * prior + level**2 * eye)
    exact = (prior - alpha * gain @ prior).diagonal()  # Cov(x0 | x) of Gaussian data, for every x
    z, x0 = white_draws(12), torch.randn(2, PIXELS, generator=generator).double()
    x0_i = mean + (alpha * x0 + level * z - alpha * mean) @ gain.T
    found = posterior_variance(z, x0_i, sigma, process)
    assert found.shape == (2, PIXELS)
    assert torch.allclose(found, exact.expand(2, -1), rtol=1e-6, atol=1e-9)


def test_it_is_what_u_and_v_say_together():
    generator, sigma = torch.Generator().manual_seed(2), torch.tensor([0.4, 0.7], dtype=torch.float64)
    z, x0_i = torch.randn(7, 2, PIXELS, generator=generator).double(), torch.randn(7, 2, PIXELS, generator=generator).double()
    ratio = (sigma / Process.VP.alpha(sigma))[:, None]
    x0 = torch.randn(2, PIXELS, generator=generator).double()
    eps_i = z + (x0 - x0_i) / ratio
    expected = (x0_i.var(dim=0) + ratio**2 * (z.var(dim=0) - eps_i.var(dim=0))) / 2
    assert torch.allclose(posterior_variance(z, x0_i, sigma, Process.VP), expected, rtol=1e-9)


def test_a_measured_step_has_it():
    """From the draws that the step made, by their own numbers."""
    x, x0, sigma = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4), torch.tensor([0.5, 0.5])
    for antithetic in (False, True):
        options = AleatoricOptions(DrawOptions(4, antithetic=antithetic))
        z, denoise = noise(options.draws, 3, x), ConvDenoiser(3)
        with torch.no_grad():
            spread = estimate_aleatoric_step(denoise, x, x0, sigma, Process.VP, options, 3)
            x0_i = torch.stack([denoise(0.75**0.5 * x0 + 0.5 * each, sigma) for each in z])
        expected = 0.5 / 0.75**0.5 * ((z - z.mean(dim=0)) * x0_i).sum(dim=0) / (4 if antithetic else 3)
        assert torch.allclose(spread.posterior, expected, rtol=1e-3, atol=1e-5)


class TwoPoints:
    """x0 is -1 or 1: D(x) = tanh(alpha x / sigma^2), Var(x0 | x) = 1 - D^2, which does depend on x."""

    def __init__(self, sigma: float) -> None:
        self.sigma, self.alpha = sigma, (1 - sigma**2) ** 0.5

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(self.alpha * x / self.sigma**2)

    def variance(self, x: np.ndarray) -> np.ndarray:
        return 1 - self.predict(x) ** 2


@pytest.mark.parametrize("level", [0.7, 0.9])
@pytest.mark.parametrize("x", [0.1, 0.8])
def test_of_other_data_it_is_the_mean_over_the_redrawn_samples_and_not_the_one_at_x(level, x):
    """Expectations by the trapezoid rule, which is exact to rounding for what decays like a Gaussian."""
    model = TwoPoints(level)
    nodes = np.linspace(-9, 9, 4001)
    weights = np.exp(-(nodes**2) / 2)
    weights = weights / weights.sum()
    x_i = model.alpha * model.predict(np.array(x)) + level * nodes
    stein = level / model.alpha * (weights * nodes * model.predict(x_i)).sum()
    averaged = (weights * model.variance(x_i)).sum()
    assert stein == pytest.approx(averaged, abs=1e-6)
    assert abs(averaged - model.variance(np.array(x))) > 0.002
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(200_000, 1, 1, generator=generator).double()
    drawn = torch.from_numpy(model.predict(model.alpha * model.predict(np.array(x)) + level * z.numpy()))
    assert float(posterior_variance(z, drawn, torch.tensor([level]), Process.VP)) == pytest.approx(averaged, rel=0.02)


def test_few_draws_are_unbiased_in_pairs_too():
    generator, sigma = torch.Generator().manual_seed(4), torch.tensor([0.5])
    for antithetic in (False, True):
        z = torch.randn(2, 40_000, 1, generator=generator).double()
        z = torch.stack([z[0], -z[0], z[1], -z[1]]) if antithetic else z
        found = posterior_variance(z, 0.8 * z, sigma.expand(40_000), Process.VP, antithetic)
        assert float(found.mean()) == pytest.approx(0.8 * 0.5 / 0.75**0.5, rel=0.02)
