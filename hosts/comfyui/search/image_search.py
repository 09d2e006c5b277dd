"""ComfyUI host: the search for the best candidates of one image."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import comfy.model_management
import torch
from torch import Tensor

from ....core.denoiser import Process
from ....core.draws import is_out_of_memory
from ....core.options import Scorer, SearchMode
from ....core.result import clock
from ....core.schedule import PercentToSigma
from ....core.search.best_of import Round, Search
from ....core.search.free import FreeScores, concatenate, join_scores
from ....core.search.scoring import Scores, comparison_sigma, score_candidates
from ....core.search.seeds import derive_seed
from ..model import Conditioned, process_of
from .candidate import Candidate, Lane
from .conditions import conditions_of

log = logging.getLogger(__name__)


@dataclass
class ComparedRows:
    """Scores of some candidates, predicted at the noise level sigma; of finished images at 0. seconds: of comparing them."""

    rows: tuple[int, ...]
    scores: Scores
    sigma: float
    percent: float
    seconds: float


@dataclass
class ImageSearch:
    """micro_batch: candidates in a call, fewer after memory was short."""

    search: Search
    lane: Lane
    percent_to_sigma: PercentToSigma
    micro_batch: int
    candidates: dict[int, Candidate] = field(default_factory=dict)
    comparisons: list[ComparedRows] = field(default_factory=list)
    sampling_seconds: float = 0.0
    conditioned: list[Conditioned] = field(default_factory=list)  # with and without the condition
    on_compared: Callable[[ComparedRows], None] = lambda compared: None

    def __post_init__(self) -> None:
        self.asked_together = self.micro_batch
        for row in self.search.rows:
            seed = derive_seed(self.search.options.seed, row)
            self.candidates[row] = Candidate(seed, row, ((seed, None),) if self.resamples else (), free=self.free_scores())

    def free_scores(self) -> FreeScores | None:
        scorers = self.search.options.free_scorers
        return FreeScores(scorers, self.process, self.percent_to_sigma) if scorers else None

    @property
    def process(self) -> Process:
        return process_of(self.lane.guider.inner_model.model_sampling)

    @property
    def resamples(self) -> bool:
        return self.search.options.mode is SearchMode.RESAMPLE

    def run(self) -> None:
        """Sample, compare at the steps that are due, and finish what is left."""
        levels = self.lane.sigmas.tolist()
        for step, sigma in enumerate(levels[:-1]):
            if self.search.due(sigma):
                self.advance(step)
                compared = self.search.rows
                scores, seconds = self.score(lambda c: c.x0, sigma)
                decided = self.search.select(scores, sigma)
                self.keep(ComparedRows(compared, scores, sigma, decided.percent, seconds))
                self.go_on(decided)
        self.advance(None)

    def keep(self, compared: ComparedRows) -> None:
        self.comparisons.append(compared)
        self.on_compared(compared)

    def go_on(self, decided: Round) -> None:
        before, number = self.candidates, len(self.search.rounds)
        self.candidates = {}
        for row, source in zip(decided.rows, decided.sources, strict=True):
            fresh = derive_seed(derive_seed(self.search.options.seed, row), number)
            self.candidates[row] = before[row] if row == source else before[source].copy(fresh)

    def advance(self, last: int | None) -> None:
        start = clock(self.lane.image)
        self.in_groups(lambda group: self.lane.advance([self.candidates[row] for row in group], last))
        self.sampling_seconds += clock(self.lane.image) - start

    def finish(self, compare: bool) -> tuple[int, ...]:
        """The rows to keep, best first. compare: score the finished images even where that decides nothing."""
        scores = None
        if self.search.rows and (compare or self.search.needs_final_scores):
            scores, seconds = self.score(lambda c: c.samples, 0.0)
            self.keep(ComparedRows(self.search.rows, scores, 0.0, 1.0, seconds))
            if not self.search.needs_final_scores:
                self.search.scoring_rows += scores.rows
        return self.search.finish(scores)

    def score(self, image_of: Callable[[Candidate], Tensor | None], sigma: float) -> tuple[Scores, float]:
        """Of what the candidates in the search look like by scorers that draw, of their steps by free ones; and the seconds it took."""
        start = clock(self.lane.image)
        parts: list[Scores] = []
        if self.search.options.drawn_scorers:
            if not self.conditioned:
                self.conditioned = self.prepare(sigma)
            found: list[Scores] = []
            self.in_groups(lambda group: found.append(self.score_group([image_of(self.candidates[row]) for row in group], sigma)))
            parts.append(concatenate(found))
        told = [self.candidates[row].free for row in self.search.rows]
        if any(told):
            needed = self.search.options.scorers
            parts.append(concatenate([free.scores(needed) for free in told if free is not None]))
        return join_scores(parts), clock(self.lane.image) - start

    def score_group(self, images: Sequence[Tensor], sigma: float) -> Scores:
        """One draw of each candidate of a group shares a call."""
        options, passes = self.search.options, []
        level = comparison_sigma(sigma, self.percent_to_sigma)
        count = [replace(c, on_rows=lambda rows, c=c: passes.append(rows * c.passes(level))) for c in self.conditioned]
        draws = replace(options.draws, micro_batch=1)
        without = count[1] if len(count) > 1 else None
        scores = score_candidates(count[0], without, torch.cat(list(images)), level, self.process, draws, options.drawn_scorers)
        return replace(scores, rows=sum(passes))

    def prepare(self, sigma: float) -> list[Conditioned]:
        positive, negative = conditions_of(self.lane.guider)
        conditioned = Conditioned(self.lane.guider.inner_model, positive, self.lane.options)
        level = comparison_sigma(sigma, self.percent_to_sigma)
        image = self.lane.image.float()
        conditioned.check_neighbours(image, image.new_full((len(image),), level))
        wanted = negative is not None and Scorer.INFORMATION in self.search.options.scorers
        return [conditioned, replace(conditioned, cond=negative)] if wanted else [conditioned]

    def in_groups(self, work: Callable[[Sequence[int]], None]) -> None:
        """Out of memory: half as many candidates in a call from here on, with a warning, down to one."""
        rows, done = self.search.rows, 0
        while done < len(rows):
            group = rows[done : done + self.micro_batch]
            try:
                work(group)
            except RuntimeError as error:
                if len(group) == 1 or not is_out_of_memory(error):
                    raise
                self.micro_batch = len(group) // 2
                log.warning("Out of memory with %d candidates in a call: going on with %d.", len(group), self.micro_batch)
                comfy.model_management.soft_empty_cache()
                continue
            done += len(group)
