"""The correction of eps: against whole Jacobians, finite differences and per-pixel loops, and its promises."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from references import (
    LEVELS,
    Calls,
    ConvDenoiser,
    GaussianDenoiser,
    MixtureDenoiser,
    alpha_at,
    gradient,
    redraws,
    spread_around_mean,
    total_spread,
)
from uncertainty_nodes.core.aleatoric import redraw
from uncertainty_nodes.core.denoiser import Process, eps_from_x0
from uncertainty_nodes.core.draws import noise
from uncertainty_nodes.core.guidance import Guided, autograd_gradient, climb, forward_gradient, guide_step, high_uncertainty
from uncertainty_nodes.core.options import DrawOptions, GuidanceMode, GuidanceOptions, GuidanceUnits

SHAPE = (2, 2, 3, 3)
RAW = GuidanceUnits.RAW
MODES = pytest.mark.parametrize("mode", GuidanceMode)


def mixture(process: Process, sigma: float, shape: tuple[int, ...] = SHAPE) -> tuple[MixtureDenoiser, Tensor, Tensor, Tensor]:
    """A non-linear model with exact score, a sample of it, the model's prediction there, sigma."""
    denoise, generator = MixtureDenoiser(process, shape[1:]), torch.Generator().manual_seed(3)
    clean = 0.3 * denoise.m.float() + denoise.std * torch.randn(shape, generator=generator)
    x = alpha_at(process, sigma) * clean + sigma * torch.randn(shape, generator=generator)
    level = torch.full(shape[:1], sigma)
    return denoise, x, denoise(x, level), level


def conv_step(options: GuidanceOptions, batch: int = 3, sigma: float = 0.5, dtype: torch.dtype = torch.float32) -> Guided:
    """One guided step of a small network at random latents."""
    generator = torch.Generator().manual_seed(5)
    x, x0 = (torch.randn(batch, 3, 8, 8, generator=generator).to(dtype) for _ in range(2))
    return guide_step(ConvDenoiser(3).to(dtype), x, x0, torch.tensor(sigma), Process.VP, options, 0)


def norm(a: Tensor) -> Tensor:
    return a.flatten(1).double().norm(dim=1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return torch.cosine_similarity(a.flatten(1).double(), b.flatten(1).double())


# where signal and noise are alike: at both ends a mixture looks Gaussian, and its gradient sinks into the rounding of float32
CURVED = [(Process.VP, 0.8), (Process.VP, 0.5), (Process.VE, 1.3), (Process.VE, 0.6), (Process.FLOW, 0.57), (Process.FLOW, 0.37)]


@pytest.mark.parametrize(("process", "sigma"), CURVED)
def test_autograd_equals_whole_jacobians(process, sigma):
    denoise, _, x0, level = mixture(process, sigma)
    z = noise(DrawOptions(samples=4), 0, x0)
    g, drawn = autograd_gradient(denoise, x0, level, process, z, GuidanceOptions())
    expected = gradient(denoise, x0, sigma, process, z)
    assert (norm(g - expected) / norm(expected)).max() < 5e-3
    assert torch.allclose(drawn.eps.double(), redraws(denoise, x0, sigma, process, z)[2], atol=1e-4)


@pytest.mark.parametrize(("process", "sigma"), CURVED)
def test_autograd_equals_finite_differences_of_the_sum_of_u(process, sigma):
    denoise, x, x0, level = mixture(process, sigma, (1, 2, 2, 2))
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
    denoise, _, x0, level = mixture(process, sigma)
    z = noise(DrawOptions(samples=4), 0, x0)
    exact, _ = autograd_gradient(denoise, x0, level, process, z, GuidanceOptions())
    drawn = redraw(denoise, x0, level, process, z)
    g = forward_gradient(denoise, drawn, level, process, x0.dtype, GuidanceOptions(step_size=5e-3))
    assert cosine(g, exact).min() > 0.998
    assert (norm(g) / norm(exact) - 1).abs().max() < 0.05


def test_forward_approaches_autograd_as_its_step_shrinks():
    denoise, _, x0, level = mixture(Process.VP, 0.6)
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
    denoise, x, x0, level = mixture(process, sigma, (1, 2, 3, 3))
    draws = DrawOptions(samples=3)

    def total(strength: float) -> float:
        options = GuidanceOptions(strength=strength, draws=draws, mode=mode)
        guided = guide_step(denoise, x, x0, level, process, options, 0).x0
        eps = (x.double() - alpha_at(process, sigma) * guided.double()) / sigma
        return total_spread(denoise, x.double(), eps, sigma, process, noise(draws, 0, x0))

    assert total(-0.02) < total(0.0) < total(0.02)


@pytest.mark.parametrize(("process", "sigma"), LEVELS)
def test_posterior_equals_the_per_pixel_mix(process, sigma):
    denoise, x, x0, level = mixture(process, sigma)
    options = GuidanceOptions(strength=1.0, mode=GuidanceMode.POSTERIOR, units=RAW, draws=DrawOptions(samples=3))
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


@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 8, 8), (2, 1, 3, 5, 5), (1, 1)])
@given(percentile=st.floats(0.001, 100), seed=st.integers(0, 99))
def test_the_mask_holds_what_lies_above_the_percentile_of_its_own_image(shape, percentile, seed):
    u = torch.rand(shape, generator=torch.Generator().manual_seed(seed)).mul(50).round()  # rounded: with ties
    mask = high_uncertainty(u, GuidanceOptions(percentile=percentile), torch.ones(shape[0]))
    for image, got in zip(u, mask, strict=True):
        threshold = torch.quantile(image.double(), percentile / 100)
        sure = (image.double() - threshold).abs() > 1e-6  # interpolation rounds
        assert torch.equal(got[sure], (image > threshold)[sure].float())
        assert set(got.unique().tolist()) <= {0.0, 1.0}


def test_the_ends_of_the_percentile():
    u = torch.rand(2, 3, 8, 8)
    masks = [high_uncertainty(u, GuidanceOptions(percentile=p), torch.ones(2)).mean().item() for p in (0, 50, 95, 100)]
    assert masks == pytest.approx([1.0, 0.5, 0.05, 0.0], abs=0.005)


def test_thresholds_are_those_of_the_nearest_level_of_each_image():
    u, table = torch.linspace(0, 1, 11).repeat(4, 1), ((10.0, 0.35), (1.0, 0.65), (0.1, 0.95))
    mask = high_uncertainty(u, GuidanceOptions(percentile=50.0, thresholds=table), torch.tensor([50.0, 1.2, 0.9, 0.01]))
    assert mask.sum(dim=1).tolist() == [7, 4, 4, 1]


@MODES
@pytest.mark.parametrize("percentile", [0.0, 90.0])
@pytest.mark.parametrize("strength", [0.3, -0.1])
def test_relative_strength_is_the_ratio_of_norms_on_the_masked_pixels(mode, percentile, strength):
    guided = conv_step(GuidanceOptions(strength, percentile, mode=mode))
    eps = eps_on_mask(guided)
    assert (norm(guided.correction) / norm(eps)).tolist() == pytest.approx([abs(strength)] * 3, rel=1e-4)
    assert not guided.correction[guided.mask == 0].any()
    opposite = conv_step(GuidanceOptions(-strength, percentile, mode=mode))
    assert torch.allclose(opposite.correction, -guided.correction)


def eps_on_mask(guided: Guided) -> Tensor:
    """The noise prediction of ``conv_step`` where its mask is one."""
    generator = torch.Generator().manual_seed(5)
    x, x0 = (torch.randn(guided.x0.shape, generator=generator) for _ in range(2))
    return guided.mask * eps_from_x0(x, x0, torch.tensor(0.5), Process.VP)


@MODES
@pytest.mark.parametrize("percentile", [0.0, 90.0])
def test_raw_strength_is_lambda_times_mask_times_the_direction(mode, percentile):
    denoise, x, x0, level = mixture(Process.VP, 0.6)
    options = GuidanceOptions(0.7, percentile, DrawOptions(samples=4), mode=mode, units=RAW)
    guided = guide_step(denoise, x, x0, level, Process.VP, options, 1)
    z = noise(options.draws, 1, x0)
    direction, drawn = climb(denoise, x, x0, level, Process.VP, z, options)
    u = spread_around_mean(drawn.eps)
    mask = torch.stack([(image > torch.quantile(image, percentile / 100)).float() if percentile else torch.ones_like(image) for image in u])
    assert torch.equal(guided.mask, mask)
    assert torch.allclose(guided.correction, 0.7 * mask * direction, rtol=1e-4, atol=1e-6)
    assert torch.allclose(guided.spread.noise, u, rtol=1e-4)
    assert torch.allclose(guided.spread.denoised, spread_around_mean(drawn.x0), rtol=1e-4)


@MODES
@pytest.mark.parametrize("units", GuidanceUnits)
@pytest.mark.parametrize("percentile", [0.0, 90.0])
def test_orthogonal_keeps_no_part_along_eps(mode, units, percentile):
    whole, part = (conv_step(GuidanceOptions(0.3, percentile, mode=mode, units=units, orthogonal=o)) for o in (False, True))
    eps = eps_on_mask(part)
    assert cosine(part.correction, eps).abs().max() < 1e-4
    assert cosine(whole.correction, eps).abs().min() > 1e-3
    if units is GuidanceUnits.RELATIVE:
        assert (norm(part.correction) / norm(eps)).tolist() == pytest.approx([0.3] * 3, rel=1e-3)
    else:
        along = (whole.correction * eps).flatten(1).sum(dim=1) / norm(eps) ** 2
        assert torch.allclose(part.correction.double(), whole.correction - along.view(-1, 1, 1, 1) * eps, atol=1e-5)


def test_what_is_all_along_eps_is_not_blown_up_from_rounding():
    guided = conv_step(GuidanceOptions(0.5, percentile=99.9, orthogonal=True))
    assert guided.mask.flatten(1).sum(dim=1).tolist() == [1, 1, 1]  # one pixel has no orthogonal direction
    assert (norm(guided.correction) < 0.01 * norm(eps_on_mask(guided))).all()


@pytest.mark.parametrize(("process", "sigma"), LEVELS)
def test_the_guided_prediction_is_that_of_the_corrected_eps(process, sigma):
    denoise, x, x0, level = mixture(process, sigma)
    guided = guide_step(denoise, x, x0, level, process, GuidanceOptions(0.2), 0)
    expected = eps_from_x0(x, x0, level, process) + guided.correction
    assert norm(guided.correction).min() > 0
    assert torch.allclose(eps_from_x0(x, guided.x0, level, process), expected, rtol=1e-3, atol=1e-3)


@MODES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("sigma", [0.5, 0.0])
def test_strength_zero_is_no_guidance(mode, dtype, sigma):
    x0, calls = torch.randn(SHAPE).to(dtype), Calls(ConvDenoiser(2))
    guided = guide_step(calls, torch.randn(SHAPE), x0, torch.tensor(sigma), Process.VP, GuidanceOptions(0.0, mode=mode), 0)
    assert guided.x0 is x0
    assert (calls.rows, guided.nfe, guided.spread) == (0, 0, None)
    assert not guided.correction.any()


@MODES
@pytest.mark.parametrize(("process", "sigma"), [(Process.FLOW, 1.0), (Process.VP, 1.0), (Process.FLOW, 0.9999)])
def test_pure_noise_is_left_alone_also_beside_a_guided_neighbour(mode, process, sigma):
    options, calls = GuidanceOptions(0.5, mode=mode, step_size=0.05), Calls(ConvDenoiser(2))
    x, x0 = torch.randn(SHAPE), torch.randn(SHAPE)
    assert guide_step(calls, x, x0, torch.tensor(sigma), process, options, 0).x0 is x0
    assert calls.rows == 0
    mixed = guide_step(calls, x, x0, torch.tensor([sigma, 0.5]), process, options, 0)
    assert torch.equal(mixed.x0[0], x0[0])
    assert not mixed.correction[0].any()
    alone = guide_step(calls, x[1:], x0[1:], torch.tensor(0.5), process, options, 0)
    assert torch.allclose(mixed.x0[1:], alone.x0, atol=1e-3)


@MODES
@pytest.mark.parametrize("shape", [(4, 3, 10), (4, 3, 8, 8), (4, 3, 3, 5, 5)])
def test_a_neighbour_its_place_and_the_micro_batch_do_not_matter(mode, shape):
    x, x0, denoise = torch.randn(shape), torch.randn(shape), ConvDenoiser(3, len(shape) - 2)

    def guided(rows: list[int], micro_batch: int) -> Tensor:
        options = GuidanceOptions(0.2, 50.0, DrawOptions(samples=3, micro_batch=micro_batch), mode=mode, step_size=0.05)
        return guide_step(denoise, x[rows], x0[rows], torch.tensor(0.5), Process.VP, options, 4).x0

    together = guided([0, 1, 2, 3], 1)
    assert not torch.allclose(together, x0, atol=1e-2)
    assert torch.allclose(guided([2, 0, 3, 1], 2), together[[2, 0, 3, 1]], atol=1e-3)
    for i in range(4):
        assert torch.allclose(guided([i], 3)[0], together[i], atol=1e-3)


@MODES
def test_same_seed_same_guidance_another_seed_another(mode):
    a, b, c = (conv_step(GuidanceOptions(draws=DrawOptions(3, seed=seed), mode=mode)).x0 for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.allclose(a, c)


@MODES
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_type_and_its_direction(mode, dtype):
    options = GuidanceOptions(0.2, mode=mode, step_size=0.1)
    half, exact = conv_step(options, dtype=dtype), conv_step(options)
    assert half.x0.dtype == dtype
    assert (half.correction.dtype, half.spread.noise.dtype) == (torch.float32, torch.float32)
    assert cosine(half.correction, exact.correction).min() > 0.97


@pytest.mark.parametrize(
    ("mode", "checkpoint", "per_draw"),
    [
        (GuidanceMode.FORWARD, False, 2),
        (GuidanceMode.AUTOGRAD, False, 1),
        (GuidanceMode.AUTOGRAD, True, 2),
        (GuidanceMode.POSTERIOR, False, 1),
    ],
)
@pytest.mark.parametrize("micro_batch", [1, 2])
def test_reported_nfe_is_what_a_wrapper_counts(mode, checkpoint, per_draw, micro_batch):
    calls = Calls(ConvDenoiser(3))
    options = GuidanceOptions(draws=DrawOptions(samples=5, micro_batch=micro_batch), mode=mode, checkpoint=checkpoint)
    guided = guide_step(calls, torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8), torch.tensor(0.5), Process.VP, options, 0)
    assert guided.nfe == calls.rows / 2 == 5 * per_draw


def test_checkpointing_changes_nothing_but_the_cost():
    plain, saved = (conv_step(GuidanceOptions(mode=GuidanceMode.AUTOGRAD, checkpoint=c)) for c in (False, True))
    assert torch.allclose(plain.correction, saved.correction, atol=1e-6)


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_autograd_works_where_the_host_samples_without_gradients_and_leaves_no_trace(guard):
    network = ConvDenoiser(3)
    x, x0, options = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8), GuidanceOptions(mode=GuidanceMode.AUTOGRAD)
    expected = guide_step(network, x, x0, torch.tensor(0.5), Process.VP, options, 0)
    with guard():
        guided = guide_step(network, x.clone(), x0.clone(), torch.tensor(0.5), Process.VP, options, 0)
        assert not torch.is_grad_enabled()
    assert torch.equal(guided.x0, expected.x0)
    assert not any(t.requires_grad for t in (guided.x0, guided.correction, guided.spread.noise))
    assert all(p.grad is None for p in network.parameters())


def test_modes_without_derivative_keep_no_graph_when_the_host_samples_without_gradients():
    with torch.inference_mode():
        for mode in (GuidanceMode.FORWARD, GuidanceMode.POSTERIOR):
            assert conv_step(GuidanceOptions(mode=mode)).correction.isfinite().all()


def test_a_model_without_gradient_is_a_sentence():
    network, x = ConvDenoiser(3), torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        loaded = ConvDenoiser(3).requires_grad_(False)
    for denoise in (torch.no_grad()(network), loaded):
        with pytest.raises(RuntimeError, match=r"This model gives no gradient; use the guidance mode 'forward', which needs none\."):
            guide_step(denoise, x, x.clone(), torch.tensor(0.5), Process.VP, GuidanceOptions(mode=GuidanceMode.AUTOGRAD), 0)


def test_other_errors_of_a_model_come_through():
    def broken(x: Tensor, sigma: Tensor) -> Tensor:
        raise RuntimeError("a layer is missing")

    options = GuidanceOptions(mode=GuidanceMode.AUTOGRAD)
    with pytest.raises(RuntimeError, match="a layer is missing"):
        guide_step(broken, torch.ones(1, 2), torch.ones(1, 2), torch.tensor(0.5), Process.VP, options, 0)


def test_under_cfg_the_models_own_prediction_is_redrawn_and_the_mix_is_moved():
    denoise, x, own, level = mixture(Process.VP, 0.6)
    mix, options = own + torch.randn(SHAPE), GuidanceOptions(0.5, units=RAW)
    guided = guide_step(denoise, x, mix, level, Process.VP, options, 0, own=own)
    plain = guide_step(denoise, x, own, level, Process.VP, options, 0)
    assert torch.equal(guided.correction, plain.correction)
    assert torch.allclose(guided.x0 - mix, plain.x0 - own, atol=1e-5)


@MODES
def test_a_broken_image_stays_alone(mode):
    denoise, x, x0, level = mixture(Process.VP, 0.6)
    options = GuidanceOptions(0.2, 50.0, mode=mode)
    healthy = guide_step(denoise, x, x0, level, Process.VP, options, 0)
    x0 = x0.clone()
    x0[0, 0, 0, 0] = math.nan
    guided = guide_step(denoise, x, x0, level, Process.VP, options, 0)
    assert torch.allclose(guided.x0[1], healthy.x0[1])
    assert guided.x0[0].isnan().any()


@pytest.mark.parametrize(
    ("x", "x0", "own", "sigma", "sentence"),
    [
        ((2, 3), (2, 4), None, 0.5, "x and its prediction must share one shape"),
        ((2, 3), (2, 3), (2, 4), 0.5, r"own must have the shape of x, \(2, 3\), got \(2, 4\)"),
        ((0, 3), (0, 3), None, 0.5, "The batch is empty"),
        ((2, 3), (2, 3), None, 0.0, "sigma must be finite and above 0"),
        ((2, 3), (2, 3), None, math.nan, "sigma must be finite and above 0"),
    ],
)
def test_a_step_that_cannot_be_guided_is_one_sentence(x, x0, own, sigma, sentence):
    with pytest.raises(ValueError, match=sentence):
        guide_step(
            GaussianDenoiser(Process.VP),
            torch.zeros(x),
            torch.zeros(x0),
            torch.tensor(sigma),
            Process.VP,
            GuidanceOptions(),
            0,
            own=None if own is None else torch.zeros(own),
        )
