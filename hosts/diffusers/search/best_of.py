"""diffusers host: the best of N, the worst of which end early.

found = best_of(pipe, 8, {"prompt": "a cat", "num_inference_steps": 30})
found.images        # the best, as the pipeline returns it
found.seeds         # torch.Generator().manual_seed(found.seeds[0]) draws it again, without a search; -1 for a copy made by ``resample``
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor

from ....core.draws import is_out_of_memory
from ....core.options import BestOfOptions
from ....core.search.best_of import Round, Search
from ....core.search.seeds import NO_SEED, derive_seed
from ....core.selection.calibration import Calibration
from ..information import Cond
from ..space import Space
from .candidates import Candidates, DigitCandidates, NoneLeft, PipelineCandidates
from .pruning import Pruning, pruning
from .scheduler_state import check_own_noise, copy_rows

__all__ = ["BestOf", "Candidates", "DigitCandidates", "PipelineCandidates", "best_of"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class BestOf:
    """images: the kept, best first, as the sampling returns them; None where every candidate was stopped.

    latents: what the images were decoded from.  kept: their numbers among the candidates.  seeds: of these, -1 for one that went
    on from another's state under ``resample``: no seed draws it again.  lineage: candidate -> the one that its state comes from.
    network_rows, scoring_rows: passes of sampling and of comparing.  saved: of sampling, where every candidate was stopped.
    micro_batch: what it came down to.
    """

    images: Any
    latents: Tensor | None
    kept: tuple[int, ...]
    seeds: tuple[int, ...]
    rounds: tuple[Round, ...]
    lineage: tuple[int, ...]
    network_rows: int
    scoring_rows: int
    micro_batch: int
    saved: int = 0


def best_of(
    pipe: DiffusionPipeline | Candidates,
    n: int | None = None,
    inputs: Mapping[str, Any] | None = None,
    options: BestOfOptions | None = None,
    empty: Cond | None = None,
    calibrations: Sequence[Calibration] = (),
) -> BestOf:
    """Sample n candidates of one prompt, end the worst on the way, return the best.

    pipe: a pipeline, which is called with ``inputs``, or other ``Candidates``. n: replaces ``options.candidates``.
    empty: the network's inputs that stand for no condition, one row, for the scorer ``information``; under classifier-free guidance
    the call's own other half where it is left out.  calibrations: for the mode ``stop``.
    With options.micro_batch 1 a survivor is bit-identical to the same seed sampled alone, whatever else was sampled; with more
    candidates in a call, up to the arithmetic that the hardware chooses for that batch size.
    Out of memory: half the micro_batch, from the start, with a warning. A batch of one that is too large raises as ever.
    Raises ValueError for pipelines, schedulers and conditions that can't be searched, and for calibrations of another model or setting.
    """
    options = options or BestOfOptions()
    options = options if n is None else replace(options, candidates=n)
    candidates = PipelineCandidates(pipe, inputs or {}, empty) if isinstance(pipe, DiffusionPipeline) else pipe
    micro_batch = min(options.micro_batch, options.candidates)
    while True:
        try:
            return run_search(candidates, options, calibrations, micro_batch)
        except RuntimeError as error:
            if micro_batch == 1 or not is_out_of_memory(error):
                raise
            micro_batch //= 2
            log.warning("Out of memory: starting again with %d candidates in a call.", micro_batch)


def run_search(candidates: Candidates, options: BestOfOptions, calibrations: Sequence[Calibration], micro_batch: int) -> BestOf:
    scheduler = candidates.scheduler or candidates.target.scheduler
    check_own_noise(scheduler)
    search = Search(options, Space.of(scheduler).percent_to_sigma, calibrations, candidates.settings() if calibrations else None)
    seeds = [derive_seed(options.seed, i) for i in range(options.candidates)]
    kept: tuple[int, ...] = ()
    saved = 0
    with pruning(candidates, search, micro_batch) as watch:
        steps = Steps(watch, scheduler, [torch.Generator("cpu").manual_seed(seed) for seed in seeds])
        try:
            images = candidates.draw(steps.generators, steps.after)
            kept = steps.kept
        except NoneLeft:
            images, done, all_steps = None, watch.step + 1, len(watch.space.scheduler.timesteps.unique())
            saved = search.network_rows * (all_steps - done) // done
    chosen = tuple(NO_SEED if row in search.copies else seeds[row] for row in kept)
    rounds, lineage = tuple(search.rounds), tuple(search.lineage)
    passes = search.network_rows, search.scoring_rows
    return BestOf(images, steps.latents, kept, chosen, rounds, lineage, *passes, micro_batch, saved)


class Steps:
    """The sampler's side of a search: states are copied between steps, and only what is kept leaves the last one."""

    def __init__(self, watch: Pruning, scheduler: SchedulerMixin, generators: list[torch.Generator]) -> None:
        self.watch, self.scheduler, self.generators = watch, scheduler, generators
        self.kept: tuple[int, ...] = ()
        self.latents: Tensor | None = None  # of what is kept
        self.states: list[Tensor] = []  # of the generators, after the step before

    def after(self, last: bool, latents: Tensor) -> Tensor:
        if self.watch.sources:
            if not last:
                self.check_noise()
            latents = copy_rows(self.scheduler, latents, self.watch.sources)
            self.watch.sources = {}
        self.states = [g.get_state() for g in self.generators]
        if not last:
            return latents
        self.kept = self.finish(latents)
        self.latents = latents[list(self.kept)]
        return self.latents

    @torch.no_grad()
    def finish(self, latents: Tensor) -> tuple[int, ...]:
        search, call = self.watch.search, self.watch.last
        return search.finish(self.watch.scores(call, latents.float(), 0.0) if search.needs_final_scores and call is not None else None)

    def check_noise(self) -> None:
        """Raises ValueError, by name, for a sampler without noise of its own, where copies would stay copies."""
        if self.states and all(torch.equal(g.get_state(), before) for g, before in zip(self.generators, self.states, strict=True)):
            name = type(self.scheduler).__name__
            raise ValueError(
                f"Scheduler {name} adds no noise, so that copies of a candidate would all end as the same image; "
                "use one that does, such as EulerAncestralDiscreteScheduler, or the mode 'prune'."
            )
