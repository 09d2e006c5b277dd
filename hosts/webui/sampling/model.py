"""WebUI host, Forge's side of the model: its noise process, and the denoiser that a compiled condition makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from backend import memory_management
from backend.sampling.sampling_function import calc_cond_uncond_batch
from modules.sd_samplers_common import InterruptedException
from modules.shared import state
from torch import Tensor

from ....core.denoiser import Process
from ....core.guidance.patch_memory import Memory
from ....core.schedule import PercentToSigma
from .isolation import OURS, kept_apart

Cond = list[dict[str, Any]]


def process_of(predictor: Any) -> Process:
    """The process of a model's ``predictor``, by what it does to noise at sigma = 0.5.

    Raises ValueError for another than alpha = 1 and alpha = 1 - sigma: a wrong alpha would be silently wrong everywhere.
    """
    sigma, zero, one = torch.tensor(0.5), torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    alpha_is = float(predictor.noise_scaling(sigma, zero.clone(), one.clone()))
    sigma_is = float(predictor.noise_scaling(sigma, one.clone(), zero.clone()))
    for process in (Process.VE, Process.FLOW):
        if abs(alpha_is - float(process.alpha(sigma))) < 1e-4 and abs(sigma_is - 0.5) < 1e-4:
            return process
    raise ValueError(f"The model adds noise in a way that is not understood ({type(predictor).__name__}); use another model.")


def percent_to_sigma(predictor: Any) -> PercentToSigma:
    """Fraction of the schedule passed -> sigma, within what the model was trained on."""
    low, high = float(predictor.sigma_min), float(predictor.sigma_max)
    return lambda percent: min(max(float(predictor.percent_to_sigma(percent)), low), high)


def count_active(cond: Cond | None, sigma: float) -> int:
    """How many parts of a condition act at this noise level; each is a network pass."""
    return sum(float(part.get("timestep_start", inf)) >= sigma >= float(part.get("timestep_end", -inf)) for part in cond or [])


@dataclass(frozen=True)
class CompiledDenoiser:
    """A model under a condition as Forge compiles it for a step: the contract of ``core.denoiser``.

    cond: of the batch; Forge tiles it to x, which is our order (M, B). on_rows: told the rows of each evaluation.
    start: what other people's patches kept before the first step.
    Raises InterruptedException, which Forge's samplers end with, when the person interrupts.
    """

    model: Any
    cond: Cond
    options: dict[str, Any]
    on_rows: Callable[[int], None]
    start: Memory | None = None

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        if state.interrupted or state.skipped:
            raise InterruptedException
        options = {**self.options, "transformer_options": {**self.options.get("transformer_options", {}), OURS: True}}
        with kept_apart(self.options, self.model, x.device, self.start):
            x0, _ = calc_cond_uncond_batch(self.model, self.cond, None, x, sigma, options)
        self.on_rows(x.shape[0])
        return x0

    def passes(self, sigma: float) -> int:
        """Network passes behind one evaluation of one sample."""
        return count_active(self.cond, sigma)

    def draws_at_once(self, x: Tensor, samples: int) -> int:
        """How many draws of the batch x may share a call, by Forge's own estimate of what they need."""
        free = memory_management.get_free_memory(x.device)
        for draws in range(samples, 1, -1):
            if self.model.memory_required([draws * x.shape[0], *x.shape[1:]]) < free:
                return draws
        return 1
