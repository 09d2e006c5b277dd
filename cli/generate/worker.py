"""The work of the generate command: a model, and batches of numbers whose images it draws and scores."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...core.search.seeds import NO_SEED
from ...core.search.stopping import quantity_at
from ...core.selection.settings import common_settings
from ...hosts.diffusers.draw import ScoredBy, draw_scored
from ...hosts.diffusers.search.drawers import CountingDrawer, StoppedEarly
from ..shared.device import enough_memory
from ..shared.maps import small_maps
from ..shared.records import finite
from .drawings import Drawing, Stopped, encode_picture
from .models import load_drawer, load_scorer
from .options import GenerateOptions

Done = tuple[Drawing, bytes, np.ndarray | None]  # the picture as a PNG; where it is unsure, see cli/shared/maps.py


@dataclass
class Drawn:
    """What a batch gave. made_with: the settings that scores depend on; empty where no image was finished."""

    pictures: list[Done | Stopped] = field(default_factory=list)
    made_with: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DrawWorker:
    """conditions: what image 0, 1, 2, .. is to show, in turn."""

    options: GenerateOptions
    drawer: CountingDrawer
    by: ScoredBy
    conditions: Sequence[int | str]

    @classmethod
    def load(cls, options: GenerateOptions) -> DrawWorker:
        return cls(options, load_drawer(options), load_scorer(options), options.conditions())

    def __call__(self, numbers: Sequence[int]) -> Drawn:
        start, drawn = time.perf_counter(), Drawn()
        try:
            for group in self.drawer.drawer.groups(numbers):
                self.draw(group, drawn)
        except StoppedEarly as stop:  # of a batch of one, as in every search
            drawn.pictures.append(self.stopped(stop, round(time.perf_counter() - start, 4)))
        return drawn

    def draw(self, numbers: Sequence[int], drawn: Drawn) -> None:
        """Images of one size."""
        start = time.perf_counter()
        with enough_memory(len(numbers)):
            images, uncertainty = draw_scored(self.drawer, numbers, self.options.steps, self.by)
        seconds = round((time.perf_counter() - start) / len(numbers), 4)
        is_finite = images.flatten(1).isfinite().all(dim=1).cpu()  # a VAE may overflow where the latent did not
        scores, nfe = uncertainty.scores.cpu().where(is_finite, math.nan).tolist(), round(uncertainty.nfe, 6)
        maps = small_maps(uncertainty) if self.options.maps else [None] * len(numbers)
        drawn.made_with = common_settings([uncertainty.provenance])
        drawn.pictures += [
            (self.drawing(n, finite(score), nfe, seconds), encode_picture(image), values)
            for n, score, image, values in zip(numbers, scores, images, maps, strict=True)
        ]

    def drawing(self, number: int, score: float | None, nfe: float, seconds: float) -> Drawing:
        calls, candidate = self.drawer.calls.pop(number), self.drawer.candidate.pop(number, None)
        seed = self.drawer.seeds.pop(number, self.drawer.drawer.seed_of(number))
        redrawn = None if seed == NO_SEED else seed
        return Drawing(number, self.shown(number), score, nfe, seconds, calls, candidate, seed=redrawn, early=self.early(number))

    def early(self, number: int) -> dict[str, float | None] | None:
        scores = self.drawer.early.pop(number, None)
        return None if scores is None else {scorer.value: finite(score) for scorer, score in scores.items()}

    def stopped(self, stop: StoppedEarly, seconds: float) -> Stopped:
        """By the score of its first candidate."""
        number, found, last = stop.number, stop.found, stop.found.rounds[-1]
        (scorer, scores), *_ = last.scores.items()
        score, calls = finite(float(scores[0])), found.network_rows + found.scoring_rows
        reason = f"Stopped at {last.percent:g} of the schedule. {last.reasons[0]}"
        seed, quantity = self.drawer.drawer.seed_of(number), quantity_at(scorer, last.percent)
        return Stopped(number, self.shown(number), seed, score, quantity, calls, found.saved, seconds, reason, self.early(number))

    def shown(self, number: int) -> int | str:
        return self.conditions[number % len(self.conditions)]
