"""Scores of candidates that the steps of their own sampling give at no model call."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..denoiser import Process
from ..options import FreeOptions, Scorer, StepWindow
from ..pixelwise.free import FEWEST_STEPS, NO_GAP, FreeRecorder
from ..result import Uncertainty
from ..schedule import PercentToSigma, SigmaWindow
from .scoring import Scores

SAME_LEVEL = 1e-5  # relative
TOO_EARLY = (
    "The scorer 'trajectory' compares a candidate's predictions from step to step, but only one step lies before the first comparison: "
    "choose a later point, more steps, or another scorer."
)


@dataclass
class FreeScores:
    """What the steps so far tell of one candidate, by each of the free scorers of a search.

    Each is taken over those of the steps that lie in the score's own window (see ``FreeOptions``); while fewer than it needs lie there,
    over all steps so far. Belongs to one candidate; ``copy`` makes that of another which goes on from its state.
    """

    scorers: Sequence[Scorer]
    process: Process
    percent_to_sigma: PercentToSigma
    recorders: dict[Scorer, list[tuple[SigmaWindow, FreeRecorder]]] = field(default_factory=dict)
    sigma: float = math.inf  # of the latest step

    def __post_init__(self) -> None:
        for scorer in self.scorers:
            if scorer.free is not None and scorer not in self.recorders:
                every = (FreeOptions(scorer.free), FreeOptions(scorer.free, StepWindow()))
                windows = [SigmaWindow.resolve(options.steps, self.percent_to_sigma) for options in every]
                self.recorders[scorer] = [(w, FreeRecorder(o, self.process)) for w, o in zip(windows, every, strict=True)]

    def observe(self, x0: Tensor, conditional: Tensor, unconditional: Tensor | None, sigma: float) -> None:
        """One evaluation; a second one at the same noise level, as of Heun's, is no new step.

        x0: the prediction that the sampler follows, (1, C, ...), and its two parts; without guidance there is only one.
        """
        if abs(sigma - self.sigma) <= SAME_LEVEL * sigma:
            return
        self.sigma = sigma
        level = x0.new_full((len(x0),), sigma, dtype=x0.float().dtype)
        for each in self.recorders.values():
            for window, recorder in each:
                if window.is_active(sigma):
                    recorder.observe(x0, conditional, unconditional, level)

    def scores(self, needed: Sequence[Scorer] | None = None) -> Scores:
        """(1,) and maps (1, C, ...) by free scorer; they cost nothing.

        Where the steps so far tell nothing, a scorer that is ``needed`` raises ValueError, and another is left out. None: all are.
        """
        found = {scorer: self._enough(scorer) for scorer in self.recorders}
        for scorer, recorder in found.items():
            if recorder is None and (needed is None or scorer in needed):
                raise ValueError(TOO_EARLY if scorer is Scorer.TRAJECTORY else NO_GAP)
        results = {scorer: recorder.result() for scorer, recorder in found.items() if recorder is not None}
        return Scores({s: r.scores for s, r in results.items()}, 0, {s: r.maps for s, r in results.items()})

    def result(self, scorer: Scorer) -> Uncertainty:
        """Over the score's own window alone, as ``FreeRecorder.result`` gives it of a run that is recorded. Raises what that raises."""
        _, recorder = self.recorders[scorer][0]
        return recorder.result()

    def _enough(self, scorer: Scorer) -> FreeRecorder | None:
        if scorer.free is None:
            return None
        fewest = FEWEST_STEPS[scorer.free]
        return next((recorder for _, recorder in self.recorders[scorer] if len(recorder.sigmas) >= fewest), None)

    def copy(self) -> FreeScores:
        recorders = {scorer: copy.deepcopy(each) for scorer, each in self.recorders.items()}
        return FreeScores(self.scorers, self.process, self.percent_to_sigma, recorders, self.sigma)


def join_scores(parts: Sequence[Scores]) -> Scores:
    """Of the same candidates, by different scorers."""
    by = {scorer: values for part in parts for scorer, values in part.by.items()}
    maps = {scorer: values for part in parts for scorer, values in part.maps.items()}
    return Scores(by, sum(part.rows for part in parts), maps)


def concatenate(parts: Sequence[Scores]) -> Scores:
    """Of one candidate after another, by the same scorers; on the CPU."""
    by, maps = ({s: torch.cat([getattr(part, name)[s] for part in parts]).cpu() for s in parts[0].by} for name in ("by", "maps"))
    return Scores(by, sum(part.rows for part in parts), maps)
