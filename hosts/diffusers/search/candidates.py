"""diffusers host: what samples several candidates side by side."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers import DiffusionPipeline, SchedulerMixin, UNet2DModel
from torch import Tensor, nn

from ..demo import SHAPE, conditions, sample
from ..information import Cond
from ..watch import network_of
from .settings import describe_sampling

AfterStep = Callable[[bool, Tensor], Tensor]  # whether it was the last step, latents -> latents


class NoneLeft(Exception):  # noqa: N818  not an error: it ends a sampling of which nothing is to be finished
    """Every candidate was stopped."""


class Candidates(Protocol):
    """What samples N candidates side by side. target, scheduler, classifier_free: as in ``attach``. empty: as in ``best_of``.

    guidance: the scale of classifier-free guidance while it samples; None where it is not known.
    """

    @property
    def target(self) -> DiffusionPipeline | nn.Module: ...

    @property
    def scheduler(self) -> SchedulerMixin | None: ...

    @property
    def classifier_free(self) -> bool | None: ...

    @property
    def empty(self) -> Cond | None: ...

    @property
    def guidance(self) -> float | None: ...

    def settings(self) -> dict[str, str]:
        """What scores on its way depend on, as far as it is known before it begins."""

    def draw(self, generators: list[torch.Generator], after_step: AfterStep) -> Any:
        """The images of what ``after_step`` left of the last step's latents; all noise of row i is drawn by generator i."""


@dataclass(frozen=True)
class PipelineCandidates:
    """One prompt of a pipeline. inputs: what its call is given beside seeds.

    Raises ValueError for a pipeline that tells nobody about its steps.
    """

    target: DiffusionPipeline
    inputs: Mapping[str, Any]
    empty: Cond | None = None
    scheduler: None = None
    classifier_free: None = None

    def __post_init__(self) -> None:
        names = inspect.signature(type(self.target).__call__).parameters
        if missing := [n for n in ("callback_on_step_end", "num_images_per_prompt", "generator") if n not in names]:
            kind = type(self.target).__name__
            raise ValueError(f"A {kind} takes no {missing[0]}, without which candidates can't be followed; use a text-to-image pipeline.")
        if taken := [n for n in ("callback_on_step_end", "num_images_per_prompt", "generator", "latents") if n in self.inputs]:
            raise ValueError(f"inputs must not hold {taken[0]}: the search gives every candidate its own; leave it out.")

    @property
    def guidance(self) -> float | None:
        return getattr(self.target, "guidance_scale", None)

    def settings(self) -> dict[str, str]:
        steps, scale = self.inputs.get("num_inference_steps"), self.inputs.get("guidance_scale")
        return describe_sampling(network_of(self.target), self.target.scheduler, steps, scale)

    def draw(self, generators: list[torch.Generator], after_step: AfterStep) -> Any:
        def look(pipe: DiffusionPipeline, step: int, t: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"latents": after_step(step == pipe.num_timesteps - 1, tensors["latents"])}

        inputs = {**self.inputs, "num_images_per_prompt": len(generators), "generator": generators, "callback_on_step_end": look}
        try:
            return self.target(**inputs)[0]
        except NoneLeft:
            self.target.maybe_free_model_hooks()
            raise


@dataclass(frozen=True)
class DigitCandidates:
    """One class of the bundled model."""

    target: UNet2DModel
    scheduler: SchedulerMixin
    label: int
    steps: int = 20
    guidance: float = 1.0

    @property
    def classifier_free(self) -> bool:
        return self.guidance != 1

    @property
    def empty(self) -> Cond:
        return conditions(torch.tensor([self.label], device=next(self.target.parameters()).device))[1]

    def settings(self) -> dict[str, str]:
        return describe_sampling(self.target, self.scheduler, self.steps, self.guidance)

    def draw(self, generators: list[torch.Generator], after_step: AfterStep) -> Tensor:
        device = next(self.target.parameters()).device
        noise = torch.stack([torch.randn(SHAPE, generator=g) for g in generators]).to(device)
        labels, steps_taken = torch.full((len(noise),), self.label, device=device), itertools.count(1)

        def look(x: Tensor) -> Tensor:
            return after_step(next(steps_taken) == len(self.scheduler.timesteps), x)

        return sample(self.target, self.scheduler, noise, labels, self.steps, self.guidance, generators, after_step=look)
