"""What a scheduler remembers of each row between steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import SchedulerMixin
from torch import Tensor


def check_own_noise(scheduler: SchedulerMixin) -> None:
    """Raises ValueError, by name, for a scheduler that draws one noise for the whole batch: a candidate would hang on its neighbours."""
    name = type(scheduler).__name__
    if hasattr(scheduler, "noise_sampler"):
        raise ValueError(f"Scheduler {name} draws one noise for the whole batch, so that candidates depend on each other; use another.")


def copy_rows(scheduler: SchedulerMixin, latents: Tensor, sources: Mapping[int, int]) -> Tensor:
    """Latents (N, C, ...) in which each row of ``sources`` is a copy of its source.

    What the scheduler remembers follows: every tensor, and every tensor in a list, that has the latents' shape.
    """
    index = list(range(len(latents)))
    for row, source in sources.items():
        index[row] = source

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[index] if value.shape == latents.shape else value
        return [moved(v) for v in value] if isinstance(value, list) else value

    for name, value in vars(scheduler).items():
        if isinstance(value, (Tensor, list)) and name not in ("timesteps", "sigmas"):
            setattr(scheduler, name, moved(value))
    return latents[index]
