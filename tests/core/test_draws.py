"""Draws are seeded by us alone, and evaluated the same in whatever portions."""

from __future__ import annotations

import logging
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from references import Calls, ConvDenoiser, MixtureDenoiser, out_of_memory
from uncertainty_nodes.core.denoiser import Process, add_noise
from uncertainty_nodes.core.draws import evaluate, noise, step_generator
from uncertainty_nodes.core.options import DrawOptions

SHAPES = [(2, 4), (3, 4, 6), (2, 3, 8, 8), (2, 3, 4, 5, 6)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_shape_and_type(shape, dtype):
    z = noise(DrawOptions(samples=5), 0, torch.zeros(shape, dtype=dtype))
    assert z.shape == (5, 1, *shape[1:])
    assert z.dtype == torch.float32


def test_standard_normal_and_independent():
    z = noise(DrawOptions(samples=4), 0, torch.zeros(1, 50_000))[:, 0].double()
    error = 1 / math.sqrt(50_000)
    assert z.mean(dim=1).abs().max() < 5 * error
    assert (z.var(dim=1) - 1).abs().max() < 5 * math.sqrt(2) * error
    assert (torch.corrcoef(z) - torch.eye(4)).abs().max() < 5 * error


@given(st.integers(0, 2**64 - 1), st.integers(0, 10_000))
def test_same_seed_and_step_same_numbers_else_others(seed, step):
    def draw(seed: int, step: int) -> torch.Tensor:
        return torch.rand(4, generator=step_generator(seed, step))

    assert torch.equal(draw(seed, step), draw(seed, step))
    assert not torch.equal(draw(seed, step), draw(seed, step + 1))
    assert not torch.equal(draw(seed, step), draw(seed ^ 1, step))
    assert not torch.equal(draw(seed, step + 1), draw((seed + 1) % 2**64, step))


def test_the_batch_has_no_part_in_the_draws():
    alone, many = (noise(DrawOptions(), 3, torch.zeros(b, 3, 8, 8)) for b in (1, 7))
    assert torch.equal(alone, many)


def test_more_samples_keep_the_first_ones():
    few, many = (noise(DrawOptions(samples=m), 3, torch.zeros(1, 3, 8, 8)) for m in (3, 9))
    assert torch.equal(few, many[:3])


def test_global_random_states_are_untouched():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    noise(DrawOptions(seed=1), 2, torch.zeros(2, 3, 8, 8))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
    assert before[2] == random.getstate()


@pytest.mark.parametrize("samples", [2, 5, 8])
def test_antithetic_draws_come_in_pairs_that_sum_to_zero(samples):
    z = noise(DrawOptions(samples=samples, antithetic=True), 0, torch.zeros(1, 3, 8, 8))
    assert len(z) == samples
    assert all(torch.equal(z[i], -z[i + 1]) for i in range(0, samples - 1, 2))
    assert not torch.equal(z[0].abs(), z[-1].abs()) or samples == 2


def test_antithetic_pairs_lower_the_error_of_the_mean():
    process, sigma, x0 = Process.VP, torch.tensor([0.6]), torch.full((1, 1, 4, 4), 0.2)
    denoise = MixtureDenoiser(process, (1, 4, 4))

    def means(antithetic: bool) -> torch.Tensor:
        runs = []
        for seed in range(150):
            z = noise(DrawOptions(samples=4, seed=seed, antithetic=antithetic), 0, x0)
            runs.append(evaluate(denoise, torch.stack([add_noise(x0, z_i, sigma, process) for z_i in z]), sigma, x0.dtype, 4).mean(dim=0))
        return torch.stack(runs)

    assert means(antithetic=True).var(dim=0).mean() < 0.5 * means(antithetic=False).var(dim=0).mean()


def test_evaluate_passes_draws_in_the_order_m_then_b_with_their_sigmas():
    x = torch.arange(24.0).view(4, 3, 2)
    sigma = torch.tensor([10.0, 20.0, 30.0])
    result = evaluate(lambda rows, s: rows + s.view(-1, 1), x, sigma, torch.float32, micro_batch=3)
    assert torch.equal(result, x + sigma.view(1, 3, 1))


@pytest.mark.parametrize("micro_batch", [0, 1, 2, 3, 5, 64])
def test_micro_batches_do_not_change_the_result(micro_batch):
    x, sigma = torch.randn(5, 2, 3, 8, 8), torch.tensor([0.3, 0.9])
    calls = Calls(ConvDenoiser(3))
    expected = torch.stack([calls.denoise(draw, sigma) for draw in x])
    with torch.no_grad():
        assert torch.allclose(evaluate(calls, x, sigma, torch.float32, micro_batch), expected, atol=1e-5)
    assert calls.rows == 10
    assert max(calls.sizes) == 2 * min(micro_batch or 5, 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_denoiser_is_fed_the_type_asked_for_and_float32_comes_back(dtype):
    calls = Calls(lambda x, sigma: x)
    assert evaluate(calls, torch.randn(3, 2, 4), torch.ones(2), dtype).dtype == torch.float32
    assert calls.dtypes == {dtype}


HALVED = [
    (4, 4, [8, 4, 4, 2], [2]),
    (64, 4, [10, 4, 4, 2], [2]),
    (2, 2, [4, 2, 2, 2, 2, 2], [1]),
    (0, 4, [10, 4, 4, 2], [2]),
    (0, 2, [10, 4, 2, 2, 2, 2, 2], [2, 1]),
]


@pytest.mark.parametrize(("micro_batch", "largest", "sizes", "halved"), HALVED)
def test_out_of_memory_halves_and_gives_the_same_result(micro_batch, largest, sizes, halved, caplog):
    x, sigma, denoise = torch.randn(5, 2, 3, 8, 8), torch.tensor([0.3, 0.9]), ConvDenoiser(3)
    calls = Calls(out_of_memory(denoise, largest))
    with torch.no_grad(), caplog.at_level(logging.WARNING):
        result = evaluate(calls, x, sigma, torch.float32, micro_batch)
        assert torch.allclose(result, evaluate(denoise, x, sigma, torch.float32), atol=1e-5)
    assert calls.sizes == sizes
    said = [r.getMessage().split(": ")[1] for r in caplog.records]
    assert said == [f"going on with {draws} draws per call." for draws in halved]


@pytest.mark.parametrize(("micro_batch", "sizes"), [(4, [8, 4, 2]), (64, [10, 4, 2]), (1, [2])])
def test_out_of_memory_with_a_single_draw_is_raised(micro_batch, sizes):
    calls = Calls(out_of_memory(ConvDenoiser(3), 1))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        evaluate(calls, torch.randn(5, 2, 3, 8, 8), torch.ones(2), torch.float32, micro_batch)
    assert calls.sizes == sizes


def with_code(error, code):
    error.error_code = code
    return error


SHORT = [  # as torch, cudaMallocAsync before and since torch 2.8, MPS and oneDNN say it
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: out of memory"),
    with_code(getattr(torch, "AcceleratorError", RuntimeError)("CUDA error: unspecified"), 2),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB, other allocations: 1.00 GB, max allowed: 9.07 GB)."),
    RuntimeError("could not create a primitive"),
]


@pytest.mark.parametrize("error", SHORT, ids=lambda error: type(error).__name__)
def test_memory_is_short_whoever_says_so(error):
    def denoise(x, sigma):
        if len(x) > 4:
            raise error
        return x

    calls = Calls(denoise)
    evaluate(calls, torch.randn(4, 2, 3, 8, 8), torch.ones(2), torch.float32, 4)
    assert calls.sizes == [8, 4, 4]


def test_more_than_any_processor_has(caplog):
    def denoise(x, sigma):
        return x if len(x) <= 2 else torch.empty(2**60, dtype=torch.uint8)

    calls = Calls(denoise)
    evaluate(calls, torch.randn(4, 1, 3, 8, 8), torch.ones(1), torch.float32, 4)
    assert calls.sizes == [4, 2, 2] and "going on with 2 draws per call" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access"),
        RuntimeError("could not create a primitive descriptor for a convolution forward propagation primitive"),
        with_code(RuntimeError("else"), 700),
        ValueError("out of memory"),
    ],
)
def test_other_errors_are_raised_at_once(error):
    def denoise(x, sigma):
        raise error

    calls = Calls(denoise)
    with pytest.raises(type(error)):
        evaluate(calls, torch.randn(4, 2, 3, 8, 8), torch.ones(2), torch.float32, 4)
    assert calls.sizes == [8]


def test_out_of_memory_with_one_draw_left_over_is_raised():
    calls = Calls(lambda x, sigma: x if len(x) == 4 else out_of_memory(ConvDenoiser(3), 0)(x, sigma))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        evaluate(calls, torch.randn(5, 2, 3, 8, 8), torch.ones(2), torch.float32, micro_batch=2)
    assert calls.sizes == [4, 4, 2]


@pytest.mark.parametrize("wrong", [lambda x, s: x[:, :1], lambda x, s: x[:1], lambda x, s: torch.cat([x, x], dim=1)])
def test_a_denoiser_that_returns_another_shape_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must return the shape it is given, \(2, 3, 4\), got \("):
        evaluate(wrong, torch.randn(5, 2, 3, 4), torch.ones(2), torch.float32)
