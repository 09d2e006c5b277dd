"""The noise level that the network sees, against diffusers' own schedulers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMInverseScheduler,
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    IPNDMScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    RePaintScheduler,
    SASolverScheduler,
    SchedulerMixin,
    TCDScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from uncertainty_nodes.core.denoiser import Process, x0_from_output
from uncertainty_nodes.hosts.diffusers.space import Space

V, KARRAS = {"prediction_type": "v_prediction"}, {"use_karras_sigmas": True}
SOLVERS = [DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, UniPCMultistepScheduler, SASolverScheduler]
EULERS = [EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, HeunDiscreteScheduler, LMSDiscreteScheduler]
VP = [
    *((cls, {"clip_sample": False} | more) for cls in [DDIMScheduler, DDPMScheduler, LCMScheduler, TCDScheduler] for more in ({}, V)),
    *((cls, more) for cls in [PNDMScheduler, DEISMultistepScheduler, *SOLVERS, *EULERS] for more in ({}, V)),
    *((cls, KARRAS) for cls in [DEISMultistepScheduler, *SOLVERS, *EULERS] if cls is not EulerAncestralDiscreteScheduler),
    (KDPM2DiscreteScheduler, KARRAS),
    (KDPM2DiscreteScheduler, V),
    (KDPM2AncestralDiscreteScheduler, {}),
    (DDIMScheduler, V | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "clip_sample": False}),
    (EulerDiscreteScheduler, {"timestep_spacing": "leading", "steps_offset": 1, "interpolation_type": "log_linear"}),
    (EulerDiscreteScheduler, V | KARRAS | {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}),
    (DPMSolverMultistepScheduler, {"use_lu_lambdas": True}),
    (UniPCMultistepScheduler, {"use_exponential_sigmas": True}),
]
FLOW_SIGMAS = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 2.0}
FLOW = [
    *((FlowMatchEulerDiscreteScheduler, more) for more in ({}, {"shift": 3.0}, KARRAS, {"stochastic_sampling": True})),
    (FlowMatchHeunDiscreteScheduler, {}),
    *((cls, FLOW_SIGMAS) for cls in [DPMSolverMultistepScheduler, UniPCMultistepScheduler, DEISMultistepScheduler, SASolverScheduler]),
]
X0, NOISE = torch.full((1, 1, 2, 2), 0.8), torch.tensor([[[[-1.5, 0.3], [1.0, 2.0]]]])


def name(case: Any) -> str:
    return case.__name__ if isinstance(case, type) else "+".join(f"{key}={value}" for key, value in case.items()) or "plain"


@dataclass
class Step:
    """What the space says of one step, and what the scheduler does there."""

    sigma: float
    noised: Tensor | None  # X0 and NOISE, mixed by the scheduler, in the network's coordinates
    x0: Tensor | None  # the scheduler's own reading of a network output
    ours: Tensor


def walk(scheduler: SchedulerMixin, steps: int) -> Iterator[Step]:
    """A sampling with a made-up network."""
    space = Space.of(scheduler)
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 1, 4, 4, generator=generator) * float(getattr(scheduler, "init_noise_sigma", 1.0))
    for t in scheduler.timesteps:
        sigma = space.sigma_at(t)
        fed = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        noised = noised_by(scheduler, t)
        output = 0.7 * torch.tanh(1.3 * fed)
        after = scheduler.step(output, t, x)
        x0 = getattr(after, "pred_original_sample", None)
        if type(scheduler) in SOLVERS:
            x0 = scheduler.model_outputs[-1]
        yield Step(sigma, noised, x0, x0_from_output(output, fed, torch.tensor(sigma), space.process, space.prediction))
        x = after.prev_sample


def noised_by(scheduler: SchedulerMixin, t: Tensor) -> Tensor | None:
    if not getattr(scheduler, "state_in_first_order", True) and not isinstance(scheduler, HeunDiscreteScheduler):
        return None  # at a midpoint, which add_noise knows nothing of
    if isinstance(scheduler, SASolverScheduler):
        return None  # its add_noise goes by rounded timesteps, its steps by their sigmas
    if hasattr(scheduler, "scale_noise"):
        return scheduler.scale_noise(X0, t[None], NOISE)
    noised = scheduler.add_noise(X0, NOISE, t[None])
    return scheduler.scale_model_input(noised, t)


@pytest.mark.filterwarnings("ignore")  # diffusers' and numpy's about each other
@pytest.mark.parametrize(("cls", "more"), [*VP, *FLOW], ids=name)
def test_the_noise_level_is_the_schedulers_own_at_every_step(cls, more):
    """x = alpha x0 + sigma n is what add_noise makes, and x0 is what the scheduler reads, at second-order steps and midpoints too."""
    scheduler = cls(**more)
    process = Process.FLOW if (cls, more) in FLOW else Process.VP
    checked = 0
    for step in walk(scheduler, 25):
        sigma = torch.tensor(step.sigma, dtype=torch.float64)
        if step.noised is not None:
            torch.testing.assert_close(step.noised, (process.alpha(sigma) * X0 + sigma * NOISE).float(), atol=3e-6, rtol=1e-5)
        if step.x0 is not None:
            torch.testing.assert_close(step.ours, step.x0, atol=2e-3 * float(step.x0.abs().max()), rtol=0)
        checked += step.noised is not None or step.x0 is not None
    assert checked >= 25
    assert Space.of(scheduler).process is process


@pytest.mark.filterwarnings("ignore")
def test_steps_that_share_a_rounded_timestep_keep_their_own_levels():
    scheduler = DPMSolverMultistepScheduler(use_karras_sigmas=True)
    sigmas = [step.sigma for step in walk(scheduler, 150)]
    assert len(scheduler.timesteps.unique()) < 150
    assert sorted(set(sigmas), reverse=True) == sigmas


@pytest.mark.parametrize("scale", [1, 1000], ids=["SD3", "Flux"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_flow_timestep_that_was_rounded_to_half_precision_is_recognised(dtype, scale):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(40)
    space = Space.of(scheduler)
    for i, t in enumerate(scheduler.timesteps):
        assert space.sigma_at(t.to(dtype)[None] / scale) == float(scheduler.sigmas[i])
        scheduler.step(torch.zeros(1, 4), t, torch.zeros(1, 4))


def test_the_last_steps_of_flow_are_not_taken_for_the_first():
    scheduler = FlowMatchEulerDiscreteScheduler()
    sigmas = [step.sigma for step in walk(scheduler, 25)]
    assert float(scheduler.timesteps[-1]) <= 1
    assert sigmas[-1] < 0.0011


def test_an_image_to_image_run_begins_in_the_middle():
    scheduler = DPMSolverMultistepScheduler(use_karras_sigmas=True)
    scheduler.set_timesteps(20)
    scheduler.set_begin_index(12)
    sigma = float(scheduler.sigmas[12])
    assert Space.of(scheduler).sigma_at(scheduler.timesteps[12]) == pytest.approx(sigma / math.hypot(1, sigma))


def test_a_flow_network_that_counts_time_otherwise_is_refused():
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(10)
    with pytest.raises(ValueError, match="called with timestep 0, which its FlowMatchEulerDiscreteScheduler does not have"):
        Space.of(scheduler).sigma_at(torch.tensor([0.0]))


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_percent_runs_over_the_timesteps_of_training(schedule):
    scheduler = DDIMScheduler(beta_schedule=schedule)
    space = Space.of(scheduler)
    sigmas = [space.percent_to_sigma(i / 50) for i in range(51)]
    assert all(a > b for a, b in itertools.pairwise(sigmas))
    for percent, t in [(0.0, 999), (0.5, 500), (1.0, 0)]:
        x = scheduler.add_noise(torch.zeros(1), torch.ones(1), torch.tensor([t]))
        assert space.percent_to_sigma(percent) == pytest.approx(float(x), rel=1e-4)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_percent_runs_over_the_shifted_line_of_flow(shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)  # before set_timesteps it holds the line of training, noisy to clean
    line, space = scheduler.sigmas.tolist(), Space.of(scheduler)
    assert [space.percent_to_sigma(i / 1000) for i in range(0, 1000, 7)] == pytest.approx(line[::7], rel=1e-5)
    assert space.percent_to_sigma(1.0) == 0


def test_percent_follows_the_runs_own_shift_where_that_depends_on_the_image_size():
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    for mu in (0.5, 1.2):
        scheduler.set_timesteps(20, mu=mu)
        space = Space.of(scheduler)
        assert [space.percent_to_sigma(i / 20) for i in range(21)] == pytest.approx(scheduler.sigmas.tolist(), abs=1e-6)


@pytest.mark.parametrize("cls", [DDIMScheduler, EulerDiscreteScheduler, DPMSolverMultistepScheduler])
def test_the_timestep_of_a_level_is_the_one_that_has_it(cls):
    scheduler = cls()
    space = Space.of(scheduler)
    for t in range(0, 1000, 37):
        assert space.timestep(space.sigma_at(t)) == t
    flow = Space.of(FlowMatchEulerDiscreteScheduler(shift=3.0))
    assert flow.timestep(0.25) == 250


def test_noisiness_tells_early_steps_apart():
    space = Space.of(DDPMScheduler())
    levels = [space.noisiness(space.sigma_at(t)) for t in range(1000)]
    assert all(b > a * 1.001 for a, b in itertools.pairwise(levels))
    assert Space.of(FlowMatchEulerDiscreteScheduler()).noisiness(1.0) == math.inf


@pytest.mark.parametrize(
    ("scheduler", "sentence"),
    [
        (EDMEulerScheduler(), "EDMEulerScheduler has no closed alpha and sigma"),
        (EDMDPMSolverMultistepScheduler(), "EDMDPMSolverMultistepScheduler has no closed alpha and sigma"),
        (IPNDMScheduler(), "IPNDMScheduler has no closed alpha and sigma"),
        (EulerDiscreteScheduler(timestep_type="continuous", prediction_type="v_prediction"), "EulerDiscreteScheduler has no closed alpha"),
        (DDIMScheduler(prediction_type="score"), "prediction type 'score', which is not understood; known are epsilon"),
        (UniPCMultistepScheduler(use_flow_sigmas=True), "UniPCMultistepScheduler has prediction type 'epsilon'"),
        (DPMSolverMultistepScheduler(prediction_type="flow_prediction"), "flow_prediction together with use_flow_sigmas"),
        (DDIMInverseScheduler(), "DDIMInverseScheduler returns to noisier levels"),
        (RePaintScheduler(), "RePaintScheduler returns to noisier levels"),
        (FlowMatchEulerDiscreteScheduler(invert_sigmas=True), "FlowMatchEulerDiscreteScheduler returns to noisier levels"),
    ],
    ids=lambda case: type(case).__name__ if isinstance(case, SchedulerMixin) else "",
)
def test_what_is_not_understood_is_refused_by_name(scheduler, sentence):
    with pytest.raises(ValueError, match=sentence):
        Space.of(scheduler)
