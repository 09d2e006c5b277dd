"""ComfyUI host: candidates of one image, which are sampled up to a step, looked at, and sampled on.

Nothing of a sampler's state is cut or kept. A candidate that goes on is sampled from its start again, with what the network
has predicted for it so far answered from memory: the state of any sampler then comes out as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import comfy.model_patcher
import comfy.samplers
import torch
from torch import Tensor

from ....core.guidance.patch_memory import Memory
from ....core.search.free import FreeScores
from ..ensemble.branch import Branch, OnPrediction
from ..ensemble.samplers import GuiderPrediction, Rehearsal
from ..isolation import kept_apart, remember
from ..patch import Run as PatchRun
from .fresh_noise import NoiseParts, PartedNoise, with_noise

NoiseOf = Callable[[int], Tensor]  # number of a candidate -> (1, C, ...), with the global random state that its sampler then finds


@dataclass
class Candidate:
    """One candidate of an image, all tensors (1, C, ...). start: the number of the candidate whose starting noise it has.

    predictions: of the network so far, in the sampler's order.  x0: the last conditional one, with what a mask keeps.
    denoised: the last that the sampler has got.  samples: once it is finished.
    noise: whose noise the sampler adds, and noise_calls how often it did; empty: the sampler's own way, by the seed.
    free: what its steps tell by the free scorers of the search; None where it has none.
    """

    seed: int
    start: int
    noise: NoiseParts = ()
    noise_calls: int = 0
    predictions: list[GuiderPrediction] = field(default_factory=list)
    x0: Tensor | None = None
    denoised: Tensor | None = None
    samples: Tensor | None = None
    patch_memory: Memory | None = None
    free: FreeScores | None = None

    def copy(self, seed: int) -> Candidate:
        """Another candidate in this one's state, with fresh noise from here on."""
        noise = (*self.noise[:-1], (self.noise[-1][0], self.noise_calls), (seed, None))
        free = None if self.free is None else self.free.copy()
        return replace(self, noise=noise, noise_calls=0, predictions=list(self.predictions), free=free)


@dataclass
class Lane:
    """How the candidates of one image of a batch are sampled.

    guider, options: as the run has prepared them, for this image. image, mask: (1, C, ...).  on_step: told x0 and x of each new step.
    passes: of the network so far, rows times passes a row.  steps: of all candidates together.
    """

    sampler: comfy.samplers.Sampler
    rehearsal: Rehearsal
    guider: comfy.samplers.CFGGuider
    options: dict[str, Any]
    sigmas: Tensor
    image: Tensor
    mask: Tensor | None
    noise_of: NoiseOf
    on_step: Callable[[Tensor, Tensor], None]
    passes: int = 0
    steps: int = 0

    def advance(self, group: Sequence[Candidate], last: int | None) -> None:
        """Sample candidates, which share every call, up to the first prediction of step ``last``, or to the end.

        Several in a group must have come equally far, with a sampler that draws no noise. Where this raises, nothing has changed.
        """
        if group[0].samples is not None:
            return
        stop = None if last is None else self.rehearsal.begins[last] + 1
        first, latest = group[0], []

        def on_step(i: int, x: Tensor, x0: Tensor) -> None:
            latest[:] = [x0]
            self.steps += len(x0)
            self.on_step(x0, x)

        added = PartedNoise(first.noise, self.image) if first.noise else None
        sampler = with_noise(self.sampler, added) if added else self.sampler
        known = [join(parts) for parts in zip(*(c.predictions for c in group), strict=True)]
        free = [None if c.free is None else c.free.copy() for c in group]  # of this run: it may raise
        branch = Branch(sampler, known, stop, on_step, self.observer(free) if any(free) else None)
        options = self.own_options(first)
        with kept_apart(options, self.guider.inner_model, self.image.device):
            noise = torch.cat([self.noise_of(c.start) for c in group]).to(self.image)
            if first.patch_memory is not None:
                first.patch_memory.put_back()
            image, mask = (t if t is None else t.repeat(len(group), *[1] * (t.ndim - 1)) for t in (self.image, self.mask))
            extra_args = {"model_options": options, "seed": first.seed}
            x = branch.sample(self.guider, self.sigmas.clone(), extra_args, None, noise, image, mask, True)
            memory = remember(options, self.guider.inner_model) if len(group) == 1 else None
        self.passes += branch.passes
        finished = stop is None or stop >= self.rehearsal.evaluations
        for k, candidate in enumerate(group):
            rows = slice(k, k + 1)
            candidate.patch_memory, candidate.noise_calls, candidate.free = memory, added.calls if added else 0, free[k]
            candidate.denoised = latest[0][rows] if latest else candidate.denoised
            if branch.made:
                candidate.x0 = self.with_mask(branch.made[-1].cond[rows].to(self.image))
            candidate.predictions += [self.row(each, rows) for each in branch.made]
            if finished:
                candidate.samples, candidate.predictions = x[rows], []

    def own_options(self, candidate: Candidate) -> dict[str, Any]:
        """Of one run; our own patches take each candidate for a run by itself."""
        options = comfy.model_patcher.create_model_options_clone(self.options)
        done = len(candidate.predictions)
        return options | {k: v.for_candidate(candidate.seed, done) for k, v in options.items() if isinstance(v, PatchRun)}

    def observer(self, free: Sequence[FreeScores | None]) -> OnPrediction:
        """Tells the free scores of a group, each its row of every prediction."""

        def on_prediction(level: float, prediction: GuiderPrediction, guided: bool) -> None:
            parts = (prediction.denoised, prediction.cond, prediction.uncond)
            x0, cond, uncond = (self.with_mask(part.to(self.image)) for part in parts)
            for k, each in enumerate(free):
                if each is not None:
                    row = slice(k, k + 1)
                    each.observe(x0[row], cond[row], uncond[row] if guided else None, level)

        return on_prediction

    def row(self, prediction: GuiderPrediction, rows: slice) -> GuiderPrediction:
        """Its parts only where the sampler asks for them: memory for each step of each candidate."""
        x0 = prediction.denoised[rows].clone()
        if not self.rehearsal.adds_hooks:
            return GuiderPrediction(x0, x0, x0)
        return GuiderPrediction(x0, prediction.cond[rows].clone(), prediction.uncond[rows].clone())

    def with_mask(self, x0: Tensor) -> Tensor:
        return x0 if self.mask is None else torch.lerp(self.image, x0, self.mask.to(x0))


def join(parts: Sequence[GuiderPrediction]) -> GuiderPrediction:
    return GuiderPrediction(*(torch.cat([getattr(p, name) for p in parts]) for name in ("denoised", "cond", "uncond")))
