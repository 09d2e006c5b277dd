"""diffusers host: MC dropout along one sampling.

with mc_dropout(pipe) as run:
    images = pipe("a cat", num_inference_steps=30).images
uncertainty = run.result()
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor, nn

from ...core.options import DropoutOptions
from ...core.pixelwise.aleatoric import Recorder
from ...core.pixelwise.mc_dropout import dropout_layers, finish, measure_dropout_step, recorder
from ...core.result import Uncertainty
from ...core.schedule import StepGate
from .call import Call
from .space import Space
from .watch import Watch, watching


@dataclass
class DropoutRun(Watch):
    """State and outcome of one sampling."""

    options: DropoutOptions = field(default_factory=DropoutOptions)
    opening: StepGate | None = None
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = recorder(self.options, self.space.process)

    @torch.no_grad()
    def observe(self, call: Call, output: Tensor, sigma: float) -> None:
        """Measure one step on the conditional rows, where it lies in the window."""
        self.opening = self.opening or self.reaching_gate(self.options.window)
        if self.opening.opens(sigma):
            call = call.rows(self.conditional(call.x))
            level = torch.full(call.x.shape[:1], sigma, device=call.x.device)
            measure_dropout_step(self.recorder, call.network, call.denoise, call.x, level, self.options, self.step)

    def result(self) -> Uncertainty:
        """What was recorded; high = bad. Raises ValueError when no step was taken."""
        result = finish(self.recorder)
        provenance = {"host": "diffusers", "scheduler": type(self.space.scheduler).__name__}
        return replace(result, provenance=result.provenance | provenance)


def mc_dropout(
    pipe: DiffusionPipeline | nn.Module,
    scheduler: SchedulerMixin | None = None,
    options: DropoutOptions | None = None,
    classifier_free: bool | None = None,
) -> AbstractContextManager[DropoutRun]:
    """Record one sampling of a pipeline, or of a bare network with its scheduler; the sampling stays as it is, bit for bit.

    classifier_free: as in ``attach``. NFE: options.draws.samples at each step inside the window.
    Raises ValueError for a network without dropout, and what ``attach`` raises.
    """

    def make(network: nn.Module, space: Space) -> DropoutRun:
        dropout_layers(network)
        return DropoutRun(space, options=options or DropoutOptions())

    return watching(pipe, scheduler, classifier_free, make)
