"""diffusers host: a network as it was trained: its own output at any noise level, its target, and its noise levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import SchedulerMixin
from torch import Tensor, nn

from ..core.denoiser import Process
from ..core.laplace_fit import Training
from .diffusers import ZERO_TO_ONE
from .diffusers_call import Call, original
from .diffusers_space import Space

FLOW_LEVELS = 1000  # of a flow's line; it has no steps of training of its own


def training(network: nn.Module, scheduler: SchedulerMixin, conditions: Callable[[Any], dict[str, Any]]) -> Training:
    """The loss that the network was trained on, for ``core.laplace_fit`` and ``core.ensemble_training``.

    conditions: from what the algorithm knows of a batch, the network's other inputs by name, with the batch's rows.
    Levels: all steps of training; for flow the scheduler's shifted line, evenly.
    Raises ValueError for a network or scheduler that is not understood.
    """
    space, dtype = Space.of(scheduler), next(network.parameters()).dtype

    def predict(x: Tensor, sigma: Tensor, cond: Any) -> Tensor:
        like = torch.empty(x.shape, dtype=dtype, device="meta")
        return Call(network, space, like, timesteps(network, space, sigma), conditions(cond)).output(x)

    return Training(predict, space.process, space.prediction, levels(space))


def timesteps(network: nn.Module, space: Space, sigma: Tensor) -> Tensor:
    """Noise levels (B,) -> the timesteps (B,) that the network is called with."""
    scale = 1 / space.train_steps if type(original(network)).__name__.startswith(ZERO_TO_ONE) else 1.0
    return torch.tensor([scale * space.timestep(s) for s in sigma.tolist()], device=sigma.device)


def levels(space: Space) -> Tensor:
    """(T,) the noise levels of training, from clean to noise."""
    if space.process is Process.FLOW:
        return torch.tensor([space.percent_to_sigma(1 - (i + 0.5) / FLOW_LEVELS) for i in range(FLOW_LEVELS)])
    return (1 - space.scheduler.alphas_cumprod.cpu().double()).sqrt()
