"""diffusers host: how much the members of an ensemble disagree on what they draw (DECU), with the scheduler's copied steps.

network, scheduler = load_demo()
members = TableMembers(network, read_ensemble(), labels=torch.arange(8))
branches = decu(network, scheduler, starting_noise(8, seed=0), members)
branches.information.scores, branches.distance.scores, branches.samples
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from diffusers import SchedulerMixin
from torch import Tensor, nn

from ....core.denoiser import x0_from_output
from ....core.ensemble.estimate import After, Branches, branch_step, estimate_ensemble
from ....core.options import EnsembleOptions, check_range, check_whole
from ..attach import ZERO_TO_ONE
from ..call import original
from ..information import Cond
from ..last_layer.solver import run_levels
from ..repeatable import check_repeatable
from ..space import Space
from .schedulers import check_branchable


class EnsembleMembers(Protocol):
    """The members of an ensemble on one network.

    names: equal ones are one member, run once.  together: whether one call can hold several.
    """

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def together(self) -> bool: ...

    def activate(self, members: Sequence[int], batch: int, guided: bool) -> AbstractContextManager[Cond]:
        """A block inside which the network acts as these members; yields its inputs for the rows (members, batch).

        guided: as many rows without the condition come first. Undone on every exit.
        """


@torch.no_grad()
def decu(
    network: nn.Module,
    scheduler: SchedulerMixin,
    noise: Tensor,
    members: EnsembleMembers,
    steps: int = 50,
    options: EnsembleOptions | None = None,
    guidance_scale: float = 1.0,
    progress: Callable[[int], None] | None = None,
) -> Branches:
    """Draw B images with every member from the same noise (B, C, ...), one trajectory up to the branch, and compare the members.

    guidance_scale: 1 is the conditional model; above, classifier-free guidance, two passes a step.
    progress: told the network passes of each step, rows. Neither network nor scheduler is changed.
    Raises ValueError, in a sentence, for a scheduler that draws noise or remembers its steps, and what ``core.ensemble.estimate`` raises.
    """
    options = options or EnsembleOptions()
    check_repeatable(network)
    check_range("guidance_scale", guidance_scale, 1.0, 1000.0)
    sampler = BranchSampler.of(network, scheduler, steps, members, guidance_scale, progress)
    branch = branch_step(options.branch, sampler.sigmas, sampler.space.percent_to_sigma)
    options = options if members.together else replace(options, micro_batch=1)
    scaled = noise * float(getattr(sampler.scheduler, "init_noise_sigma", 1.0))
    branches = estimate_ensemble(sampler.advance, scaled, members.names, sampler.sigmas, sampler.space.process, branch, options)
    provenance = {
        "host": "diffusers",
        "model": type(network).__name__,
        "scheduler": type(scheduler).__name__,
        "guidance": f"{guidance_scale:g}",
    }
    information, distance = (replace(r, provenance=r.provenance | provenance) for r in (branches.information, branches.distance))
    return replace(branches, information=information, distance=distance)


@dataclass(frozen=True, eq=False)
class BranchSampler:
    """The scheduler's loop from any step to any other. scheduler: a copy with its steps set, copied again for each stretch.

    sigmas: the S + 1 noise levels of S steps, in the coordinates of the network's input.
    """

    network: nn.Module
    scheduler: SchedulerMixin
    members: EnsembleMembers
    guidance: float
    progress: Callable[[int], None] | None
    space: Space
    sigmas: tuple[float, ...]

    @classmethod
    def of(
        cls,
        network: nn.Module,
        scheduler: SchedulerMixin,
        steps: int,
        members: EnsembleMembers,
        guidance: float,
        progress: Callable[[int], None] | None,
    ) -> BranchSampler:
        """Raises ValueError for a scheduler whose run can't be begun in the middle, or that draws noise."""
        check_branchable(scheduler)
        check_whole("steps", steps, 1, scheduler.config.num_train_timesteps)
        copied = deepcopy(scheduler)
        copied.set_timesteps(steps)
        space = Space.of(copied)
        return cls(network, copied, members, guidance, progress, space, tuple(run_levels(space)))

    def advance(self, x: Tensor, members: Sequence[int], first: int, last: int, after: After) -> tuple[Tensor, int]:
        """The contract of ``core.ensemble.estimate.Advance``. x: in the scheduler's copied coordinates."""
        scheduler, rows = deepcopy(self.scheduler), len(x) * (2 if self.guidance != 1 else 1)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        with self.members.activate(members, len(x) // len(members), self.guidance != 1) as cond:
            for i, t in enumerate(scheduler.timesteps[first:last], first):
                seen = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
                output = self.predict(seen, t.to(x.device), cond)
                level = torch.full((len(x),), self.sigmas[i], device=x.device)
                after(i, seen, x0_from_output(output.float(), seen.float(), level, self.space.process, self.space.prediction))
                x = scheduler.step(output, t, x).prev_sample
                if self.progress is not None:
                    self.progress(rows)
        return x, rows * (last - first)

    def predict(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The network's output without a learned variance, under guidance where asked for."""
        guided = self.guidance != 1
        fed = (torch.cat([x, x]) if guided else x).to(next(self.network.parameters()).dtype)
        scale = 1 / self.space.train_steps if type(original(self.network)).__name__.startswith(ZERO_TO_ONE) else 1
        output = self.network(fed, timestep=(t * scale).expand(len(fed)), **cond, return_dict=False)[0][:, : x.shape[1]]
        if not guided:
            return output
        without, given = output.chunk(2)
        return without + self.guidance * (given - without)
