"""The guided step: mask, strength, orthogonality against loops, and its promises about seeds, neighbours and cost."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from references import LEVELS, Calls, ConvDenoiser, GaussianDenoiser, cosine, mixture_sample, norm, spread_around_mean
from uncertainty_nodes.core.denoiser import Process, eps_from_x0
from uncertainty_nodes.core.draws import noise
from uncertainty_nodes.core.guidance.step import GuidedStep, find_direction, guide_step, half_safe, scale
from uncertainty_nodes.core.options import DrawOptions, GuidanceMode, GuidanceOptions, GuidanceUnits

SHAPE = (2, 2, 3, 3)
RAW = GuidanceUnits.RAW
MODES = pytest.mark.parametrize("mode", GuidanceMode)


def conv_step(options: GuidanceOptions, batch: int = 3, sigma: float = 0.5, dtype: torch.dtype = torch.float32) -> GuidedStep:
    """One guided step of a small network at random latents."""
    generator = torch.Generator().manual_seed(5)
    x, x0 = (torch.randn(batch, 3, 8, 8, generator=generator).to(dtype) for _ in range(2))
    return guide_step(ConvDenoiser(3).to(dtype), x, x0, torch.tensor(sigma), Process.VP, options, 0)


@MODES
def test_the_mask_is_taken_from_the_spread_of_the_noise_prediction(mode):
    guided = conv_step(GuidanceOptions(percentile=80.0, mode=mode))
    of_noise, of_denoised = (
        torch.stack([(image > torch.quantile(image, 0.8)).float() for image in spread])
        for spread in (guided.spread.noise, guided.spread.denoised)
    )
    assert torch.equal(guided.mask, of_noise)
    assert not torch.equal(of_noise, of_denoised)


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


def eps_on_mask(guided: GuidedStep) -> Tensor:
    """The noise prediction of ``conv_step`` where its mask is one."""
    generator = torch.Generator().manual_seed(5)
    x, x0 = (torch.randn(guided.x0.shape, generator=generator) for _ in range(2))
    return guided.mask * eps_from_x0(x, x0, torch.tensor(0.5), Process.VP)


@MODES
@pytest.mark.parametrize("percentile", [0.0, 50.0, 90.0])
def test_raw_strength_is_lambda_times_mask_times_the_direction(mode, percentile):
    denoise, x, x0, level = mixture_sample(Process.VP, 0.6)
    options = GuidanceOptions(0.7, percentile, DrawOptions(samples=4), mode=mode, units=RAW)
    guided = guide_step(denoise, x, x0, level, Process.VP, options, 1)
    z = noise(options.draws, 1, x0)
    direction, drawn = find_direction(denoise, x, x0, level, Process.VP, z, options)
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
    guided = conv_step(GuidanceOptions(0.5, percentile=99.9, orthogonal=True, mode=GuidanceMode.FORWARD))
    assert guided.mask.flatten(1).sum(dim=1).tolist() == [1, 1, 1]  # one pixel has no orthogonal direction
    assert (norm(guided.correction) < 0.01 * norm(eps_on_mask(guided))).all()


@pytest.mark.parametrize(("process", "sigma"), LEVELS)
def test_the_guided_prediction_is_that_of_the_corrected_eps(process, sigma):
    denoise, x, x0, level = mixture_sample(process, sigma)
    guided = guide_step(denoise, x, x0, level, process, GuidanceOptions(0.2, mode=GuidanceMode.FORWARD), 0)
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
    denoise, x, own, level = mixture_sample(Process.VP, 0.6)
    mix, options = own + torch.randn(SHAPE), GuidanceOptions(0.5, units=RAW, mode=GuidanceMode.FORWARD)
    guided = guide_step(denoise, x, mix, level, Process.VP, options, 0, conditional=own)
    plain = guide_step(denoise, x, own, level, Process.VP, options, 0)
    assert torch.equal(guided.correction, plain.correction)
    assert torch.allclose(guided.x0 - mix, plain.x0 - own, atol=1e-5)


@MODES
def test_a_broken_image_stays_alone(mode):
    denoise, x, x0, level = mixture_sample(Process.VP, 0.6)
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
        ((2, 3), (2, 3), (2, 4), 0.5, r"The conditional prediction must have the shape of x, \(2, 3\), got \(2, 4\)"),
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
            conditional=None if own is None else torch.zeros(own),
        )


def test_a_vanishing_direction_is_not_blown_up():
    """Rounding noise has no direction: relative units must not raise it to full strength."""
    eps = torch.randn(2, 1, 8, 8)
    noise = 1e-6 * torch.randn(2, 1, 8, 8)
    moved = scale(noise, eps, GuidanceOptions(strength=0.5))
    assert (moved.flatten(1).norm(dim=1) < 2e-3 * eps.flatten(1).norm(dim=1)).all()


@pytest.mark.parametrize(("dtype", "step_size"), [(torch.float32, 1e-2), (torch.float16, 3e-2), (torch.bfloat16, 1e-1)])
def test_coarser_networks_get_a_larger_difference(dtype, step_size):
    assert half_safe(GuidanceOptions(), dtype).step_size == step_size
    assert half_safe(GuidanceOptions(step_size=0.5), dtype).step_size == 0.5


def test_forward_guidance_does_not_shift_a_channels_mean():
    """The spatial mean would add up over the steps; the exact gradient has next to none."""
    shape = (2, 3, 8, 8)
    denoise, x, x0, sigma = ConvDenoiser(3), torch.randn(shape), torch.randn(shape), torch.full((2,), 0.6)
    for keep_mean in (True, False):
        options = GuidanceOptions(strength=0.3, keep_mean=keep_mean, mode=GuidanceMode.FORWARD)
        correction = guide_step(denoise, x, x0, sigma, Process.VP, options, 0).correction
        size, mean = correction.square().mean().sqrt(), correction.mean(dim=(2, 3)).abs().max()
        assert bool(mean < 1e-5 * size) is keep_mean
