"""One sampling of N candidates, of which the network sees only those that are still in the search.

The pipeline and its scheduler keep all N rows throughout, so that no state of theirs has to be cut; rows that have ended get zeros
for the network's output and cost no call. The others go through the network at most ``micro_batch`` candidates at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ....core.denoiser import Denoiser
from ....core.options import Scorer, SearchMode
from ....core.pixelwise.free import NO_GAP
from ....core.search.best_of import Search
from ....core.search.free import FreeScores, concatenate, join_scores
from ....core.search.scoring import Scores, comparison_sigma, score_candidates
from ..attach import call_at, mix, unconditional_part
from ..call import Call, input_name, map_tensors, signature_of
from ..information import Cond
from ..space import Space
from ..watch import Watch, network_of, watching
from .candidates import Candidates, NoneLeft


@dataclass
class Pruning(Watch):
    """The network's side of a search. empty: the network's inputs that stand for no condition, one row for all or N.

    sources: row -> the row whose state it takes before the next step; the pipeline's side does that. last: a call, for finished images.
    scale: of classifier-free guidance.  free: what the steps so far tell of each candidate, where the search asks for it.
    """

    search: Search = field(kw_only=True)
    empty: Cond | None = None
    micro_batch: int = 1
    scale: Callable[[], float | None] = field(default=lambda: None, repr=False)
    free: dict[int, FreeScores] = field(default_factory=dict, repr=False)
    sources: dict[int, int] = field(default_factory=dict)
    last: Call | None = field(default=None, repr=False)
    inputs: dict[str, Any] = field(default_factory=dict, repr=False)
    blocks: int = 1

    def __post_init__(self) -> None:
        if scorers := self.search.options.free_scorers:
            self.free = {row: FreeScores(scorers, self.space.process, self.space.percent_to_sigma) for row in self.search.rows}

    def before(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[()], dict[str, Any]]:
        """Forward pre-hook: the network is called for the first group of candidates alone; ``hook`` calls it for the others."""
        self.signature = self.signature or signature_of(network)
        self.inputs = dict(self.signature.bind(*args, **kwargs).arguments)
        rows, candidates = len(self.inputs[input_name(network, self.signature)]), self.search.options.candidates
        if rows % candidates:
            raise ValueError(f"The network is called with {rows} rows for {candidates} candidates: give one prompt, for one image.")
        self.blocks = rows // candidates
        return (), self.cut(self.groups()[0])

    def groups(self) -> list[list[int]]:
        """Candidates that share a call."""
        rows = self.search.rows
        return [list(rows[i : i + self.micro_batch]) for i in range(0, len(rows), self.micro_batch)]

    def cut(self, group: Sequence[int]) -> dict[str, Any]:
        """The call's inputs for some candidates, in each of its blocks (the halves of classifier-free guidance)."""
        rows = self.blocks * self.search.options.candidates
        index = torch.tensor(self.places(group))
        return map_tensors(self.inputs, lambda v: v[index.to(v.device)] if v.ndim and len(v) == rows else v)

    def places(self, group: Sequence[int]) -> list[int]:
        return [block * self.search.options.candidates + row for block in range(self.blocks) for row in group]

    def hook(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        first, *others = self.groups()
        whole = output[0].new_zeros((self.blocks * self.search.options.candidates, *output[0].shape[1:]))
        whole[self.places(first)] = output[0]
        for group in others:
            whole[self.places(group)] = network.forward(**self.cut(group))[0]
        self.search.network_rows += self.blocks * len(self.search.rows)
        call = Call.bind(network, self.space, self.signature or signature_of(network), (), self.inputs, whole)
        sigma = self.space.sigma_at(call.timestep)
        if self.is_new_step(self.space.noisiness(sigma)):
            self.last = call
            if self.free:
                self.record_step(call, whole, sigma)
            if self.search.due(sigma):
                self.compare(call, whole, sigma)
        return (whole, *output[1:]) if isinstance(output, tuple) else type(output)(sample=whole)

    @torch.no_grad()
    def record_step(self, call: Call, output: Tensor, sigma: float) -> None:
        """Raises ValueError for the condition gap without guidance, and for the trajectory under guidance of an unknown scale."""
        part = self.conditional(call.x)
        level = torch.full((part.stop - part.start,), sigma, device=call.x.device)
        given = call.rows(part).x0(output[part], call.x[part].float(), level)
        without, scale = unconditional_part(call, output, part, level), self.scale()
        if without is None and Scorer.CONDITION_GAP in self.search.options.scorers:
            raise ValueError(NO_GAP)
        if without is not None and scale is None and Scorer.TRAJECTORY in self.search.options.scorers:
            raise ValueError("The scorer 'trajectory' needs the scale of classifier-free guidance, which this pipeline does not tell.")
        x0 = mix(given, without, scale)
        for row in self.search.rows:
            each = slice(row, row + 1)
            self.free[row].observe(x0[each], given[each], None if without is None else without[each], sigma)

    def compare(self, call: Call, output: Tensor, sigma: float) -> None:
        """Decide by the images that the conditional prediction stands for."""
        part = self.conditional(call.x)
        level = torch.full((len(call.x[part]),), sigma, device=call.x.device)
        x0 = call.rows(part).x0(output[part], call.x[part].float(), level)
        decided = self.search.select(self.scores(call, x0, sigma), sigma)
        if not decided.rows:
            raise NoneLeft
        if self.search.options.mode is SearchMode.RESAMPLE:
            self.sources = {row: source for row, source in zip(decided.rows, decided.sources, strict=True) if row != source}
            before = dict(self.free)
            self.free |= {row: before[source].copy() for row, source in self.sources.items() if before}

    def scores(self, call: Call, x0: Tensor, sigma: float) -> Scores:
        """Of the candidates in the search, by scorers that draw and by free ones; x0: (N, C, ...) of all."""
        parts = [self.drawn_scores(call, x0, sigma)] if self.search.options.drawn_scorers else []
        if self.free:
            needed = self.search.options.scorers
            parts.append(concatenate([self.free[row].scores(needed) for row in self.search.rows]))
        return join_scores(parts)

    def drawn_scores(self, call: Call, x0: Tensor, sigma: float) -> Scores:
        """No call holds more rows than one of the sampling itself, so that ``micro_batch`` bounds the memory of both."""
        level, options = comparison_sigma(sigma, self.space.percent_to_sigma), self.search.options
        draws = replace(options.draws, micro_batch=options.draws.micro_batch or self.blocks)
        part = self.conditional(call.x)
        groups = []
        for rows in self.groups():
            given = self.denoiser(call.rows(part), rows, level)
            without = self.unconditional(call, part, rows, level)
            groups.append(score_candidates(given, without, x0[rows], level, self.space.process, draws, options.drawn_scorers))
        return concatenate(groups)

    def unconditional(self, call: Call, part: slice, rows: list[int], sigma: float) -> Denoiser | None:
        """From the empty condition that was given, else from the other half of the call, else none."""
        given = call.rows(part)
        if self.empty is not None:
            count = len(given.x)
            empty = map_tensors(self.empty, lambda v: v.expand(count, *v.shape[1:]) if v.ndim and len(v) == 1 else v)
            return self.denoiser(replace(given, cond={**given.cond, **empty}), rows, sigma)
        if part.stop - part.start == len(call.x):
            return None
        other = slice(0, part.start) if part.start else slice(part.stop, len(call.x))
        return self.denoiser(call.rows(other), rows, sigma)

    def denoiser(self, call: Call, rows: list[int], sigma: float) -> Denoiser:
        """Of a call for all N candidates, that of some, at another noise level."""
        some = call.rows(torch.tensor(rows, device=call.x.device))
        level = torch.full((len(rows),), sigma, device=call.x.device)
        return replace(some, timestep=call_at(some.network, self.space, some.x.shape, level, {}).timestep).denoise


@contextmanager
def pruning(candidates: Candidates, search: Search, micro_batch: int) -> Iterator[Pruning]:
    """Hangs a search on one sampling of N candidates; everything is undone on leaving. Raises what ``watching`` raises."""

    def make(_: nn.Module, space: Space) -> Pruning:
        return Pruning(space, search=search, empty=candidates.empty, micro_batch=micro_batch, scale=lambda: candidates.guidance)

    with watching(candidates.target, candidates.scheduler, candidates.classifier_free, make) as watch:
        handle = network_of(candidates.target).register_forward_pre_hook(watch.before, with_kwargs=True)
        try:
            yield watch
        finally:
            handle.remove()
