"""diffusers host: the steps of deterministic schedulers, as the network sees them, in linear form."""

from __future__ import annotations

import math

from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, SchedulerMixin

from ....core.denoiser import Process
from ....core.last_layer.linear_steps import LinearStep, ddim_step, dpmpp_2m_step
from ..space import Space

ONE_STEP = (DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler)  # Euler's step is DDIM's, in other coordinates
WAY_OUT = "use DDIM, DPM-Solver++ 2M or Euler, without added noise and without clipping"


def check_linear(scheduler: SchedulerMixin) -> None:
    """Raises ValueError, by name, for a scheduler whose steps are not known to be linear in the sample and the network's output."""
    config, name = scheduler.config, type(scheduler).__name__
    if not isinstance(scheduler, (*ONE_STEP, DPMSolverMultistepScheduler)):
        raise ValueError(f"BayesDiff needs the linear steps of a deterministic sampler, which {name} is not known to take; {WAY_OUT}.")
    for setting in ("clip_sample", "thresholding", "stochastic_sampling"):
        if config.get(setting):
            raise ValueError(f"BayesDiff needs linear steps, and {name} has {setting} on; {WAY_OUT}.")
    if isinstance(scheduler, DPMSolverMultistepScheduler):
        wanted = {"algorithm_type": "dpmsolver++", "solver_type": "midpoint"}
        settings = {name: config.get(name) for name in wanted}
        if settings != wanted or config.solver_order > 2:
            raise ValueError(f"BayesDiff knows DPM-Solver++ of order 1 and 2, got order {config.solver_order} and {settings}; {WAY_OUT}.")


def linear_step(space: Space, index: int, first: bool) -> LinearStep:
    """The step that leaves the run's index-th level. first: whether it is the run's first, which has none before it."""
    scheduler, levels = space.scheduler, run_levels(space)
    now, after = levels[index], levels[index + 1]
    if not isinstance(scheduler, DPMSolverMultistepScheduler) or scheduler.config.solver_order == 1 or first:
        return ddim_step(now, after, space.process, space.prediction)
    if index == len(scheduler.timesteps) - 1 and ends_first_order(scheduler):
        return ddim_step(now, after, space.process, space.prediction)
    return dpmpp_2m_step(now, after, levels[index - 1], space.process, space.prediction)


def ends_first_order(scheduler: DPMSolverMultistepScheduler) -> bool:
    c = scheduler.config
    return c["euler_at_final"] or (c["lower_order_final"] and len(scheduler.timesteps) < 15) or c["final_sigmas_type"] == "zero"


def run_levels(space: Space) -> list[float]:
    """The noise level of every step of the run, in the network's coordinates, and what is left after the last."""
    scheduler = space.scheduler
    if isinstance(scheduler, DDIMScheduler):
        abar, stride = scheduler.alphas_cumprod.double(), scheduler.config.num_train_timesteps // scheduler.num_inference_steps
        times = [int(t) for t in scheduler.timesteps]
        last = times[-1] - stride
        end = abar[last] if last >= 0 else scheduler.final_alpha_cumprod.double()
        return [math.sqrt(1 - float(a)) for a in [*(abar[t] for t in times), end]]
    sigmas = [float(s) for s in scheduler.sigmas]
    return sigmas if space.process is Process.FLOW else [s / math.hypot(1, s) for s in sigmas]
