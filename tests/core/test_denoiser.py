"""The conversions agree with diffusers' schedulers, with each other and with algebra."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from references import LEVELS, alpha_at
from uncertainty_nodes.core.denoiser import (
    CountedDenoiser,
    Prediction,
    Process,
    add_noise,
    eps_from_x0,
    expand,
    output_from_x0,
    output_shift,
    ve_to_vp,
    vp_to_ve,
    x0_from_eps,
    x0_from_output,
)

SHAPE = (2, 3, 4, 4)
PAIRS = [
    (process, prediction) for process in Process for prediction in Prediction if prediction is not Prediction.V or process is Process.VP
]


def normal(seed: int, shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("process", "sigma"), LEVELS)
def test_alpha_is_that_of_the_process(process, sigma):
    assert process.alpha(torch.tensor(sigma, dtype=torch.float64)).item() == pytest.approx(alpha_at(process, sigma), abs=1e-12)


def test_alpha_is_computed_in_float32_at_least_and_never_turns_nan():
    assert Process.VP.alpha(torch.tensor(0.5, dtype=torch.float16)).dtype == torch.float32
    assert Process.VP.alpha(torch.tensor(1.0000001)).item() == 0.0


@pytest.mark.parametrize(("process", "prediction"), PAIRS)
@given(sigma=st.floats(0.02, 0.98), seed=st.integers(0, 1000))
def test_output_and_x0_are_inverses(process, prediction, sigma, seed):
    x, x0, s = normal(seed), normal(seed + 1), torch.tensor([sigma, 0.5], dtype=torch.float64)
    output = output_from_x0(x0, x, s, process, prediction)
    assert torch.allclose(x0_from_output(output, x, s, process, prediction), x0, atol=1e-9)


@pytest.mark.parametrize(("process", "sigma"), LEVELS)
def test_a_noised_sample_gives_back_its_parts_in_every_prediction(process, sigma):
    x0, n, s = normal(0), normal(1), torch.tensor(sigma, dtype=torch.float64)
    x = add_noise(x0, n, s, process)
    assert torch.allclose(x, alpha_at(process, sigma) * x0 + sigma * n)
    assert torch.allclose(eps_from_x0(x, x0, s, process), n)
    assert torch.allclose(x0_from_eps(x, n, s, process), x0)
    assert torch.allclose(x0_from_output(n - x0, x, s, process, Prediction.FLOW), x0)
    assert torch.allclose(output_from_x0(x0, x, s, process, Prediction.FLOW), n - x0)
    if process is Process.VP:
        v = alpha_at(process, sigma) * n - sigma * x0
        assert torch.allclose(x0_from_output(v, x, s, process, Prediction.V), x0)
        assert torch.allclose(output_from_x0(x0, x, s, process, Prediction.V), v)


@pytest.mark.parametrize("prediction", [Prediction.EPS, Prediction.V, Prediction.X0])
@pytest.mark.parametrize("t", [1, 400, 981])
def test_vp_agrees_with_diffusers_ddim(prediction, t):
    scheduler = DDIMScheduler(prediction_type=prediction.value, clip_sample=False)
    scheduler.set_timesteps(1000)
    x, output = normal(0, dtype=torch.float32), normal(1, dtype=torch.float32)
    sigma = (1 - scheduler.alphas_cumprod[t]).sqrt()
    expected = scheduler.step(output, t, x).pred_original_sample
    assert torch.allclose(x0_from_output(output, x, sigma, Process.VP, prediction), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("t", [1, 400, 981])
def test_noising_and_velocity_agree_with_diffusers_ddpm(t):
    scheduler = DDPMScheduler()
    x0, n, steps = normal(0, dtype=torch.float32), normal(1, dtype=torch.float32), torch.tensor([t, 500])
    sigma = (1 - scheduler.alphas_cumprod[steps]).sqrt()
    x = add_noise(x0, n, sigma, Process.VP)
    assert torch.allclose(x, scheduler.add_noise(x0, n, steps), atol=1e-5)
    expected = scheduler.get_velocity(x0, n, steps)
    assert torch.allclose(output_from_x0(x0, x, sigma, Process.VP, Prediction.V), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prediction", [Prediction.EPS, Prediction.V])
@pytest.mark.parametrize("step", [0, 10, 19])
def test_ve_agrees_with_diffusers_euler(prediction, step):
    scheduler = EulerDiscreteScheduler(prediction_type=prediction.value)
    scheduler.set_timesteps(20)
    x, output = 3 * normal(0, dtype=torch.float32), normal(1, dtype=torch.float32)
    t, sigma = scheduler.timesteps[step], scheduler.sigmas[step]
    scaled = scheduler.scale_model_input(x, t)
    expected = scheduler.step(output, t, x).pred_original_sample
    x_vp, sigma_vp = ve_to_vp(x, sigma)
    assert torch.allclose(x_vp, scaled, atol=1e-5)
    assert torch.allclose(x0_from_output(output, x_vp, sigma_vp, Process.VP, prediction), expected, rtol=1e-3, atol=1e-3)
    if prediction is Prediction.EPS:
        assert torch.allclose(x0_from_output(output, x, sigma, Process.VE, prediction), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("step", [0, 5, 9])
def test_flow_agrees_with_diffusers_flow_matching(step):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(10)
    x0, n, velocity = (normal(i, dtype=torch.float32) for i in range(3))
    t, sigma, after = scheduler.timesteps[step], scheduler.sigmas[step], scheduler.sigmas[step + 1]
    x = add_noise(x0, n, sigma, Process.FLOW)
    assert torch.allclose(x, scheduler.scale_noise(x0, t[None], n), atol=1e-5)
    clean = x0_from_output(velocity, x, sigma, Process.FLOW, Prediction.FLOW)
    noise = velocity + clean
    assert torch.allclose(scheduler.step(velocity, t, x).prev_sample, add_noise(clean, noise, after, Process.FLOW), atol=1e-4)


@given(sigma=st.floats(0.01, 100.0), seed=st.integers(0, 1000))
def test_vp_and_ve_coordinates_are_inverses_and_keep_x0_and_eps(sigma, seed):
    x0, n, s = normal(seed), normal(seed + 1), torch.tensor([sigma, 1.0], dtype=torch.float64)
    x = add_noise(x0, n, s, Process.VE)
    x_vp, s_vp = ve_to_vp(x, s)
    assert torch.allclose(x_vp, add_noise(x0, n, s_vp, Process.VP))
    assert torch.allclose(eps_from_x0(x_vp, x0, s_vp, Process.VP), n)
    back, s_back = vp_to_ve(x_vp, s_vp)
    assert torch.allclose(back, x)
    assert torch.allclose(s_back, s)


def test_coordinates_survive_large_half_precision_sigmas():
    _, sigma = ve_to_vp(torch.ones(1, 1, dtype=torch.float16), torch.tensor([700.0], dtype=torch.float16))
    assert sigma.item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("process", "prediction"), [pair for pair in PAIRS if pair[1] is not Prediction.FLOW] + [(Process.FLOW, Prediction.FLOW)]
)
def test_output_shift_is_the_change_of_the_output_when_eps_changes(process, prediction):
    x, eps, c, s = normal(0), normal(1), normal(2), torch.tensor([0.3, 0.8], dtype=torch.float64)
    before, after = (output_from_x0(x0_from_eps(x, e, s, process), x, s, process, prediction) for e in (eps, eps + c))
    assert torch.allclose(output_shift(c, s, process, prediction), after - before)


@pytest.mark.parametrize("process", [Process.VE, Process.FLOW])
@pytest.mark.parametrize("convert", [x0_from_output, output_from_x0])
def test_v_outside_vp_is_refused(process, convert):
    with pytest.raises(ValueError, match=f"VP coordinates, got process '{process.value}'.*ve_to_vp"):
        convert(normal(0), normal(1), torch.tensor(0.5), process, Prediction.V)


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 3, 5), (2, 3, 4, 5, 6)])
def test_sigma_spreads_over_any_rank(shape):
    x = torch.ones(shape, dtype=torch.float16)
    assert expand(torch.tensor([1, 2]), x).shape == (2, *[1] * (len(shape) - 1))
    assert (expand(torch.tensor([1.0, 2.0], dtype=torch.float16), x) * x)[1].unique().tolist() == [2.0]
    assert expand(0.5, x).flatten().tolist() == [0.5, 0.5]
    assert expand(torch.tensor(0.5, dtype=torch.bfloat16), x).dtype == torch.float32


@pytest.mark.parametrize("sigma", [torch.ones(3), torch.ones(2, 1), torch.ones(1)])
def test_sigma_of_another_batch_is_refused(sigma):
    with pytest.raises(ValueError, match=r"one value per sample \(2\), got shape"):
        expand(sigma, torch.zeros(2, 3))


def test_counted_denoiser_counts_rows_times_passes_also_of_calls_that_fail():
    counted = CountedDenoiser(lambda x, sigma: x + sigma.view(-1, 1), passes=2)
    assert torch.equal(counted(torch.zeros(3, 1), torch.arange(3.0)), torch.tensor([[0.0], [1.0], [2.0]]))
    assert counted.rows == 6
    with pytest.raises(RuntimeError):
        counted(torch.zeros(3, 1), torch.arange(2.0))
    assert counted.rows == 12
