"""Which Gaussian process a diffusers scheduler runs, in the network's own coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from ..core.denoiser import Prediction, Process, ve_to_vp

PREDICTIONS = {"epsilon": Prediction.EPS, "v_prediction": Prediction.V, "sample": Prediction.X0}


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
        if name.startswith("FlowMatch") or prediction == "flow_prediction":
            return cls(Process.FLOW, Prediction.FLOW, scheduler)
        if not hasattr(scheduler, "alphas_cumprod") or config.get("timestep_type", "discrete") != "discrete":
            raise ValueError(f"Scheduler {name} has no closed alpha and sigma; use DDIM, DPM-Solver++, Euler or FlowMatch.")
        if prediction not in PREDICTIONS:
            known = ", ".join(PREDICTIONS)
            raise ValueError(f"Scheduler {name} has prediction type {prediction!r}, which is not understood; known are {known} and flow.")
        return cls(Process.VP, PREDICTIONS[prediction], scheduler)

    def sigma_at(self, timestep: Tensor | float) -> float:
        """The noise level at a timestep that the network was called with."""
        t = float(torch.as_tensor(timestep).flatten()[0])
        if self.process is Process.FLOW:
            return t if t <= 1 else t / self.train_steps  # Flux is given t / 1000
        sigmas, timesteps = getattr(self.scheduler, "sigmas", None), self.scheduler.timesteps
        nearest = int((timesteps.float().cpu() - t).abs().argmin()) if len(timesteps) else 0
        if sigmas is None or len(sigmas) < len(timesteps) or abs(float(timesteps[nearest]) - t) > 1e-3:
            return float((1 - self.scheduler.alphas_cumprod[round(t)]).sqrt())
        sigma = sigmas[nearest].float().cpu()
        return float(ve_to_vp(sigma.view(1, 1), sigma.view(1))[1])

    @property
    def train_steps(self) -> int:
        return self.scheduler.config.num_train_timesteps

    def percent_to_sigma(self, percent: float) -> float:
        """Fraction of the schedule passed (0 = noise, 1 = clean) -> sigma: over training timesteps, for flow over the shifted line."""
        if self.process is Process.FLOW:
            return self._flow_sigma(1 - percent)
        return float((1 - self.scheduler.alphas_cumprod[round((1 - percent) * (self.train_steps - 1))]).sqrt())

    def _flow_sigma(self, t: float) -> float:
        if self.scheduler.config.get("use_dynamic_shifting") and len(self.scheduler.timesteps):
            # the shift depends on the image size: read the line from the run's own steps, the last entry being the closing 0
            line = self.scheduler.sigmas.float().cpu()
            place = (1 - t) * (len(line) - 1)
            low = min(int(place), len(line) - 2)
            return float(torch.lerp(line[low], line[low + 1], place - low))
        shift = float(self.scheduler.config.get("shift") or self.scheduler.config.get("flow_shift") or 1.0)
        return shift * t / (1 + (shift - 1) * t)

    def timestep(self, sigma: float) -> float:
        """The timestep to call the network with at a noise level, for levels off the sampler's path. Inverse of ``sigma_at``."""
        if self.process is Process.FLOW:
            return sigma * self.train_steps
        table = (1 - self.scheduler.alphas_cumprod.float().cpu()).sqrt()
        return float((table - sigma).abs().argmin())
