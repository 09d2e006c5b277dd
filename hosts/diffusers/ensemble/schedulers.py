"""diffusers host: which schedulers an ensemble can share the start of."""

from __future__ import annotations

from diffusers import SchedulerMixin

from ..last_layer.solver import ONE_STEP


def check_branchable(scheduler: SchedulerMixin) -> None:
    """Raises ValueError for a scheduler whose run can't be begun in the middle, or that draws noise."""
    config, name = scheduler.config, type(scheduler).__name__
    if not isinstance(scheduler, ONE_STEP) or config.get("stochastic_sampling") or config.get("use_dynamic_shifting"):
        known = ", ".join(kind.__name__ for kind in ONE_STEP)
        raise ValueError(f"Members can't go on alone from a branch with {name} as it is set; use {known} with plain settings.")
