"""Pixel-wise spread: closed forms on Gaussian data, loops elsewhere, and the promises about seeds, neighbours and cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from references import (
    LEVELS,
    Calls,
    ConvDenoiser,
    GaussianDenoiser,
    MixtureDenoiser,
    alpha_at,
    out_of_memory,
    redraws,
    spread_around,
    spread_around_mean,
)
from uncertainty_nodes.core.denoiser import Prediction, Process, add_noise, eps_from_x0, x0_from_output
from uncertainty_nodes.core.draws import noise
from uncertainty_nodes.core.options import AleatoricOptions, Center, DrawOptions, Pooling, Quantity
from uncertainty_nodes.core.pixelwise.aleatoric import Spread, estimate_aleatoric, estimate_aleatoric_step
from uncertainty_nodes.core.result import pool

SHAPE = (2, 3, 8, 8)
NATIVE = [
    (process, sigma, prediction)
    for process, sigma in LEVELS
    for prediction in Prediction
    if not (prediction is Prediction.V and process is not Process.VP)
]


def sample(denoise, sigma: float, process: Process, shape=SHAPE) -> tuple[Tensor, Tensor, Tensor]:
    """A noisy sample, the denoiser's prediction there, sigma."""
    generator = torch.Generator().manual_seed(11)
    clean, n = (torch.randn(shape, generator=generator) for _ in range(2))
    level = torch.full(shape[:1], sigma)
    x = add_noise(0.3 + 0.7 * clean, n, level, process)
    with torch.no_grad():
        return x, denoise(x, level), level


def native(gaussian: GaussianDenoiser, prediction: Prediction):
    """The same exact model as a network of that prediction: its output derived from E[n | x] and E[x0 | x]."""

    def network(x: Tensor, sigma: Tensor) -> Tensor:
        x0 = gaussian(x, sigma)
        s = sigma.view(-1, 1, 1, 1)
        alpha = torch.tensor([alpha_at(gaussian.process, v) for v in sigma.tolist()]).view(-1, 1, 1, 1)
        n = s * (x - alpha * gaussian.mean) / (alpha**2 * gaussian.std**2 + s**2)
        return {Prediction.EPS: n, Prediction.X0: x0, Prediction.V: alpha * n - s * x0, Prediction.FLOW: n - x0}[prediction]

    return lambda x, sigma: x0_from_output(network(x, sigma), x, sigma, gaussian.process, prediction)


@pytest.mark.parametrize(("process", "sigma", "prediction"), NATIVE)
def test_on_gaussian_data_both_spreads_converge_to_their_closed_forms(process, sigma, prediction):
    samples, gaussian = 200, GaussianDenoiser(process)
    denoise = native(gaussian, prediction)
    options = AleatoricOptions(DrawOptions(samples=samples, micro_batch=50))
    spread = estimate_aleatoric_step(denoise, *sample(denoise, sigma, process), process, options, 0)
    v, u = gaussian.spreads(sigma)
    # a variance of M normal draws has relative deviation sqrt(2 / (M - 1)); the pixels of one image are independent
    error = 5 * math.sqrt(2 / (samples - 1) / math.prod(SHAPE[1:]))
    assert spread.denoised.mean(dim=(1, 2, 3)).tolist() == pytest.approx([v, v], rel=error)
    assert spread.noise.mean(dim=(1, 2, 3)).tolist() == pytest.approx([u, u], rel=error + 1e-3)
    assert torch.allclose(spread.denoised.std(dim=(1, 2, 3)) / v, torch.tensor(math.sqrt(2 / (samples - 1))), rtol=0.35)


@pytest.mark.parametrize(("process", "sigma"), LEVELS)
def test_around_the_samplers_prediction_the_closed_form_gains_the_squared_bias(process, sigma):
    samples, denoise = 400, GaussianDenoiser(process)
    x, x0, level = sample(denoise, sigma, process)
    options = AleatoricOptions(DrawOptions(samples=samples, micro_batch=100), center=Center.PREDICTION)
    spread = estimate_aleatoric_step(denoise, x, x0, level, process, options, 0)
    alpha, k, (v, u) = alpha_at(process, sigma), denoise.gain(sigma), denoise.spreads(sigma)
    bias = (1 - alpha * k) * (denoise.mean - x0)
    expected_v = v + bias.square()
    expected_u = u + (alpha * -bias / sigma - eps_from_x0(x, x0, level, process)).square()
    assert spread.denoised.mean().item() == pytest.approx(expected_v.mean().item(), rel=0.05)
    assert spread.noise.mean().item() == pytest.approx(expected_u.mean().item(), rel=0.05)


@pytest.mark.parametrize(("process", "sigma"), LEVELS)
@pytest.mark.parametrize("antithetic", [False, True])
def test_both_centres_equal_the_loops(process, sigma, antithetic):
    shape, draws = (2, 2, 3, 3), DrawOptions(samples=4, seed=5, antithetic=antithetic)
    denoise = MixtureDenoiser(process, shape[1:])
    x, x0, level = sample(denoise, sigma, process, shape)
    _, clean, eps = redraws(denoise, x0, sigma, process, noise(draws, 3, x0))
    own_eps = (x.double() - alpha_at(process, sigma) * x0.double()) / sigma
    around_mean = estimate_aleatoric_step(denoise, x, x0, level, process, AleatoricOptions(draws), 3)
    around_own = estimate_aleatoric_step(denoise, x, x0, level, process, AleatoricOptions(draws, center=Center.PREDICTION), 3)
    for got, expected in (
        (around_mean.denoised, spread_around_mean(clean)),
        (around_mean.noise, spread_around_mean(eps)),
        (around_own.denoised, spread_around(clean, x0.double())),
        (around_own.noise, spread_around(eps, own_eps)),
    ):
        assert got.dtype == torch.float32
        assert torch.allclose(got.double(), expected, rtol=1e-3, atol=1e-6)


def conv_score(x: Tensor, x0: Tensor, **draws: int) -> Spread:
    options = AleatoricOptions(DrawOptions(**draws))
    with torch.no_grad():
        return estimate_aleatoric_step(ConvDenoiser(3, x.ndim - 2), x, x0, torch.tensor(0.5), Process.VP, options, 5)


@pytest.mark.parametrize("shape", [(4, 3, 10), (4, 3, 8, 8), (4, 3, 3, 5, 5)])
def test_a_neighbour_its_place_and_the_micro_batch_do_not_matter(shape):
    x, x0 = torch.randn(shape), torch.randn(shape)
    together = conv_score(x, x0)
    order = torch.tensor([2, 0, 3, 1])
    permuted = conv_score(x[order], x0[order], micro_batch=3)
    for quantity in Quantity:
        assert together[quantity].shape == shape
        assert quantity is Quantity.POSTERIOR or together[quantity].min() > 0
        assert torch.allclose(permuted[quantity], together[quantity][order], rtol=1e-3, atol=1e-6)
        for i in range(4):
            alone = conv_score(x[i : i + 1], x0[i : i + 1], micro_batch=i + 1)
            assert torch.allclose(alone[quantity][0], together[quantity][i], rtol=1e-3, atol=1e-6)


def test_each_image_has_its_own_noise_level():
    x, x0, denoise, options = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8), GaussianDenoiser(Process.VP), AleatoricOptions()
    both = estimate_aleatoric_step(denoise, x, x0, torch.tensor([0.2, 0.9]), Process.VP, options, 0)
    for i, sigma in enumerate((0.2, 0.9)):
        one = estimate_aleatoric_step(denoise, x[i : i + 1], x0[i : i + 1], torch.tensor(sigma), Process.VP, options, 0)
        assert torch.allclose(both.noise[i], one.noise[0])
        assert torch.allclose(both.denoised[i], one.denoised[0])


def test_same_seed_same_score_another_seed_or_step_another():
    x, x0, denoise = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8), ConvDenoiser(3)

    def score(seed: int, step: int) -> Tensor:
        with torch.no_grad():
            return estimate_aleatoric_step(
                denoise, x, x0, torch.tensor(0.5), Process.VP, AleatoricOptions(DrawOptions(seed=seed)), step
            ).denoised

    assert torch.equal(score(1, 2), score(1, 2))
    assert not torch.allclose(score(1, 2), score(2, 2))
    assert not torch.allclose(score(1, 2), score(1, 3))


def test_looking_changes_neither_inputs_nor_random_state():
    x, x0 = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    kept, state = (x.clone(), x0.clone()), torch.get_rng_state()
    conv_score(x, x0)
    assert torch.equal(x, kept[0])
    assert torch.equal(x0, kept[1])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_goes_in_and_float32_comes_out(dtype):
    calls = Calls(ConvDenoiser(3).to(dtype))
    x, x0 = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        spread = estimate_aleatoric_step(calls, x.to(dtype), x0.to(dtype), torch.tensor(0.5), Process.VP, AleatoricOptions(), 5)
    assert calls.dtypes == {dtype}
    exact = conv_score(x, x0)
    for quantity in (Quantity.DENOISED, Quantity.NOISE):
        assert spread[quantity].dtype == torch.float32
        assert spread[quantity].mean().item() == pytest.approx(exact[quantity].mean().item(), rel=0.05)
        assert torch.corrcoef(torch.stack([spread[quantity].flatten(), exact[quantity].flatten()]))[0, 1] > 0.98


@pytest.mark.parametrize("center", Center)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_latent_spoils_its_own_map_only(center, value):
    x, x0, options = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8), AleatoricOptions(center=center)
    healthy = estimate_aleatoric_step(GaussianDenoiser(Process.VP), x, x0, torch.tensor(0.5), Process.VP, options, 0)
    x0[0, 1, 2, 3] = value
    spread = estimate_aleatoric_step(GaussianDenoiser(Process.VP), x, x0, torch.tensor(0.5), Process.VP, options, 0)
    for quantity in Quantity:
        assert torch.equal(spread[quantity][1], healthy[quantity][1])
        assert not spread[quantity][0, 1, 2, 3].isfinite()
        assert pool(spread[quantity], Pooling.UPPER_TAIL).isfinite().tolist() == [False, True]


def test_out_of_memory_changes_nothing_but_the_number_of_calls():
    x, x0 = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        options = AleatoricOptions(DrawOptions(micro_batch=4))
        spread = estimate_aleatoric_step(out_of_memory(ConvDenoiser(3), 4), x, x0, torch.tensor(0.5), Process.VP, options, 5)
    assert torch.allclose(spread.noise, conv_score(x, x0).noise, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 7), (2, 1, 4, 4), (2, 3, 2, 5, 5)])
def test_pooling_equals_numpy(shape):
    maps = torch.rand(shape)
    flat = np.sort(maps.numpy().reshape(shape[0], -1), axis=1)
    keep = max(1, round(0.05 * flat.shape[1]))
    expected = {Pooling.SUM: flat.sum(1), Pooling.MEAN: flat.mean(1), Pooling.UPPER_TAIL: flat[:, -keep:].mean(1)}
    for pooling in Pooling:
        assert np.allclose(pool(maps, pooling).numpy(), expected[pooling], rtol=1e-5)


@pytest.mark.parametrize("center", Center)
@pytest.mark.parametrize("quantity", [Quantity.DENOISED, Quantity.NOISE])
def test_a_finished_sample_is_scored_at_each_level_as_the_loops_do(quantity, center):
    shape, sigmas, draws = (2, 2, 3, 3), [0.8, 0.3], DrawOptions(samples=3, seed=1)
    calls, latents = Calls(MixtureDenoiser(Process.VP, shape[1:])), torch.randn(shape)
    result = estimate_aleatoric(calls, latents, sigmas, Process.VP, AleatoricOptions(draws, quantity=quantity, center=center), passes=2)
    assert result.nfe == calls.rows * 2 / len(latents) == 12
    maps = []
    for step, sigma in enumerate(sigmas):
        _, clean, eps = redraws(calls.denoise, latents, sigma, Process.VP, noise(draws, step, latents))
        values, middle = (clean, latents.double()) if quantity is Quantity.DENOISED else (eps, torch.zeros(()))
        maps.append(spread_around_mean(values) if center is Center.MEAN else spread_around(values, middle))
    assert torch.allclose(result.maps.double(), sum(maps) / 2, rtol=1e-3, atol=1e-6)
    assert torch.allclose(result.curve.double(), torch.stack([m.flatten(1).mean(dim=1) for m in maps]), rtol=1e-3)


@pytest.mark.parametrize(
    ("x", "x0", "sigma", "sentence"),
    [
        ((2, 3, 8, 8), (2, 3, 8, 4), 0.5, r"must share one shape .* got \(2, 3, 8, 8\) and \(2, 3, 8, 4\)\."),
        ((2, 3, 8, 8), (1, 3, 8, 8), 0.5, "must share one shape"),
        ((8,), (8,), 0.5, r"\(batch, channels, \.\.\.\), got \(8,\)"),
        ((0, 3, 8, 8), (0, 3, 8, 8), 0.5, "The batch is empty: give at least one latent"),
        ((2, 3), (2, 3), 0.0, "sigma must be finite and above 0 .* got 0; end the window earlier"),
        ((2, 3), (2, 3), -1.0, "sigma must be finite and above 0 .* got -1;"),
        ((2, 3), (2, 3), math.nan, "sigma must be finite and above 0 .* got nan;"),
        ((2, 3), (2, 3), math.inf, "sigma must be finite and above 0 .* got inf;"),
        ((2, 3), (2, 3), [0.5, 0.0], "sigma must be finite and above 0 .* got 0;"),
        ((2, 3), (2, 3), [0.5, 0.5, 0.5], r"one value per image \(2\), got shape \(3,\)"),
    ],
)
def test_a_step_that_cannot_be_measured_is_one_sentence(x, x0, sigma, sentence):
    calls = Calls(GaussianDenoiser(Process.VP))
    with pytest.raises(ValueError, match=sentence):
        estimate_aleatoric_step(calls, torch.zeros(x), torch.zeros(x0), torch.tensor(sigma), Process.VP, AleatoricOptions(), 0)
    assert calls.rows == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_finished_sample_that_failed_scores_nan_and_leaves_the_others_alone(value):
    latents = torch.randn(3, 4, 5, 5)
    whole = estimate_aleatoric(GaussianDenoiser(Process.VP), latents, [0.5, 0.2], Process.VP)
    latents[1, 2, 3, 4] = value
    found = estimate_aleatoric(GaussianDenoiser(Process.VP), latents, [0.5, 0.2], Process.VP)
    assert not found.scores[1].isfinite()
    assert torch.equal(found.maps[[0, 2]], whole.maps[[0, 2]]) and torch.equal(found.scores[[0, 2]], whole.scores[[0, 2]])


@pytest.mark.parametrize(
    ("latents", "sigmas", "sentence"),
    [
        (torch.zeros(1, 3), [], "sigmas is empty: give at least one noise level"),
        (torch.zeros(0, 3), [0.5], "The batch is empty"),
        (torch.zeros(()), [0.5], r"latents must have the shape \(batch, channels, \.\.\.\), got \(\)"),
        (torch.zeros(1, 3), [0.5, 0.0], "sigma must be finite and above 0"),
    ],
)
def test_a_finished_sample_that_cannot_be_scored_is_one_sentence(latents, sigmas, sentence):
    with pytest.raises(ValueError, match=sentence):
        estimate_aleatoric(GaussianDenoiser(Process.VP), latents, sigmas, Process.VP)
