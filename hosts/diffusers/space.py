"""Which Gaussian process a diffusers scheduler runs, in the network's own coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from ...core.denoiser import Prediction, Process, ve_to_vp

PREDICTIONS = {"epsilon": Prediction.EPS, "v_prediction": Prediction.V, "sample": Prediction.X0}
RISING = ("Inverse", "RePaint")  # not from noise to image alone
MIDPOINT = {"KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler"}


@dataclass(frozen=True)
class Space:
    """The process that the network sees at its input.

    Schedulers differ in their own coordinates (DDIM: VP; Euler: k-diffusion), but ``scale_model_input`` brings every
    sample into the network's: VP for networks with a beta schedule, flow for flow matching. sigma is meant there.
    """

    process: Process
    prediction: Prediction
    scheduler: SchedulerMixin

    @classmethod
    def of(cls, scheduler: SchedulerMixin) -> Space:
        """Raises ValueError, by name, for a scheduler whose alpha and sigma are not understood; nothing is guessed."""
        config, name = scheduler.config, type(scheduler).__name__
        prediction = config.get("prediction_type")
        if any(word in name for word in RISING) or config.get("invert_sigmas"):
            raise ValueError(f"Scheduler {name} returns to noisier levels, which is not supported; use DDIM, DPM-Solver++ or Euler.")
        if name.startswith("FlowMatch") or (prediction == "flow_prediction" and config.get("use_flow_sigmas")):
            return cls(Process.FLOW, Prediction.FLOW, scheduler)
        if not hasattr(scheduler, "alphas_cumprod") or config.get("timestep_type", "discrete") != "discrete":
            raise ValueError(f"Scheduler {name} has no closed alpha and sigma; use DDIM, DPM-Solver++, Euler or FlowMatch.")
        if prediction not in PREDICTIONS or config.get("use_flow_sigmas"):
            known = ", ".join(PREDICTIONS)
            raise ValueError(
                f"Scheduler {name} has prediction type {prediction!r}, which is not understood; known are {known}, "
                "and flow_prediction together with use_flow_sigmas."
            )
        return cls(Process.VP, PREDICTIONS[prediction], scheduler)

    def sigma_at(self, timestep: Tensor | float) -> float:
        """The noise level at a timestep that the network was called with: the scheduler's own, at its place in the run.

        Only that is exact: the timestep may have been rounded to an integer or to half precision on its way.
        Raises ValueError for a flow timestep that the run does not hold.
        """
        t = torch.as_tensor(timestep).flatten()[0]
        index = self.step_at(t)
        if index is None and self.process is Process.FLOW:
            raise ValueError(f"The network was called with timestep {float(t):g}, which its {type(self.scheduler).__name__} does not have.")
        if index is None or self._between_steps() or not hasattr(self.scheduler, "sigmas"):
            return self._table_sigma(float(t if index is None else self.scheduler.timesteps[index]))
        return self._sigma_of_step(index)

    def sigmas_from(self, timestep: Tensor | float) -> tuple[float, ...]:
        """The noise levels of the run's steps from the one with this timestep on; img2img begins late. None where no run was set up."""
        first = self.step_at(torch.as_tensor(timestep).flatten()[0])
        steps = range(first, len(self.scheduler.timesteps)) if first is not None else ()
        if not hasattr(self.scheduler, "sigmas"):
            return tuple(self._table_sigma(float(self.scheduler.timesteps[i])) for i in steps)
        return tuple(self._sigma_of_step(i) for i in steps)

    def _sigma_of_step(self, step: int) -> float:
        sigma = self.scheduler.sigmas[step].cpu().double()
        return float(sigma if self.process is Process.FLOW else ve_to_vp(sigma.view(1, 1), sigma.view(1))[1])

    def step_at(self, t: Tensor) -> int | None:
        """Index of the run's step that has this timestep; where several have it, the one that the scheduler is at."""
        scheduler = self.scheduler
        if getattr(scheduler, "num_inference_steps", None) is None:
            return None
        given, timesteps = float(t), scheduler.timesteps.double().cpu()
        distance = (timesteps - given).abs()
        if self.process is Process.FLOW:
            distance = torch.minimum(distance, (timesteps - given * self.train_steps).abs())  # Flux is given t / 1000
        rounding = 4 * torch.finfo(t.dtype if t.is_floating_point() else torch.float32).eps * timesteps.clamp_min(1)
        step = getattr(scheduler, "step_index", None)
        at = step if step is not None else getattr(scheduler, "begin_index", None)
        if at is None or at >= len(timesteps) or distance[at] > rounding[at]:
            at = int(distance.argmin())
        return at if distance[at] <= rounding[at] else None

    def _between_steps(self) -> bool:
        """Whether the scheduler is at a midpoint, which its ``sigmas`` don't hold."""
        return type(self.scheduler).__name__ in MIDPOINT and not self.scheduler.state_in_first_order

    def _table_sigma(self, t: float) -> float:
        """sigma at a timestep of training; between two of them on the line of log(sigma / alpha), as diffusers does."""
        abar = self.scheduler.alphas_cumprod.cpu().double()
        t = min(max(t, 0.0), len(abar) - 1.0)
        low = int(t)
        if t == low:
            return float((1 - abar[low]).sqrt())
        before, after = ((1 - abar[low : low + 2]) / abar[low : low + 2]).log()
        ratio = torch.lerp(before, after, t - low).exp()  # (sigma / alpha)^2
        return float((ratio / (1 + ratio)).sqrt())

    def noisiness(self, sigma: float) -> float:
        """sigma / alpha, which tells levels apart where VP's sigma is all but 1; infinite where nothing of x0 is left."""
        alpha = float(self.process.alpha(torch.tensor(sigma, dtype=torch.float64)))
        return sigma / alpha if alpha else math.inf

    @property
    def train_steps(self) -> int:
        return self.scheduler.config.num_train_timesteps

    def percent_to_sigma(self, percent: float) -> float:
        """Fraction of the schedule passed (0 = noise, 1 = clean) -> sigma: over training timesteps, for flow over the shifted line."""
        if self.process is Process.FLOW:
            return self._flow_sigma(1 - percent)
        return self._table_sigma(round((1 - percent) * (self.train_steps - 1)))

    def _flow_sigma(self, t: float) -> float:
        if self.scheduler.config.get("use_dynamic_shifting") and len(self.scheduler.timesteps):
            # the shift depends on the image size: read the line from the run's own steps, the last entry being the closing 0
            line = self.scheduler.sigmas.cpu().double()
            position = (1 - t) * (len(line) - 1)
            low = min(int(position), len(line) - 2)
            return float(torch.lerp(line[low], line[low + 1], position - low))
        return self._shifted(t)

    def _shifted(self, t: float) -> float:
        shift = float(self.scheduler.config.get("shift") or self.scheduler.config.get("flow_shift") or 1.0)
        return shift * t / (1 + (shift - 1) * t)

    def training_levels(self) -> Tensor:
        """(T,) float32, the level of each timestep of training; for flow evenly over the shifted line, whatever density it had."""
        if self.process is Process.FLOW:
            return torch.tensor([self._shifted((i + 1) / self.train_steps) for i in range(self.train_steps)])
        return (1 - self.scheduler.alphas_cumprod.cpu().double()).sqrt().float()

    def timestep(self, sigma: float) -> float:
        """The timestep to call the network with at a noise level, for levels off the sampler's path: the nearest of training."""
        if self.process is Process.FLOW:
            return sigma * self.train_steps
        table = (1 - self.scheduler.alphas_cumprod.cpu().double()).sqrt()
        return float((table - sigma).abs().argmin())
