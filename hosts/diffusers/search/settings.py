"""diffusers host: how a sampling makes its images, as the scores of other samplings are compared with it."""

from __future__ import annotations

from diffusers import SchedulerMixin
from torch import nn

from ..information import describe_model


def describe_sampling(network: nn.Module, scheduler: SchedulerMixin, steps: int | None, guidance: float | None) -> dict[str, str]:
    """Model, weights, sampler, and, where they are known, steps and the scale of classifier-free guidance."""
    told = {**describe_model(network), "sampler": type(scheduler).__name__}
    told |= {} if steps is None else {"steps": str(steps)}
    return told | ({} if guidance is None else {"cfg": f"{guidance:g}"})
