"""The work of the generate command: a model, and batches of numbers whose images it draws and scores."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...hosts.diffusers.draw import ScoredBy, draw_scored
from ...hosts.diffusers.search.drawers import CountingDrawer
from ..shared.device import enough_memory
from ..shared.records import finite
from .drawings import Drawing, encode_picture
from .models import load_drawer, load_scorer
from .options import GenerateOptions


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

    def __call__(self, numbers: Sequence[int]) -> list[tuple[Drawing, bytes]]:
        """Each image's drawing and its picture as a PNG."""
        return [done for group in self.drawer.drawer.groups(numbers) for done in self.draw(group)]

    def draw(self, numbers: Sequence[int]) -> list[tuple[Drawing, bytes]]:
        """Of images of one size."""
        start, calls, candidate = time.perf_counter(), self.drawer.calls, self.drawer.candidate
        with enough_memory(len(numbers)):
            images, uncertainty = draw_scored(self.drawer, numbers, self.options.steps, self.by)
        seconds = round((time.perf_counter() - start) / len(numbers), 4)
        is_finite = images.flatten(1).isfinite().all(dim=1).cpu()  # a VAE may overflow where the latent did not
        scores, nfe = uncertainty.scores.cpu().where(is_finite, math.nan).tolist(), round(uncertainty.nfe, 6)
        return [
            (self.drawing(n, finite(score), nfe, seconds, calls.pop(n), candidate.pop(n, None)), encode_picture(image))
            for n, score, image in zip(numbers, scores, images, strict=True)
        ]

    def drawing(self, number: int, score: float | None, *costs: Any) -> Drawing:
        return Drawing(number, self.shown(number), score, *costs, seed=self.drawer.drawer.seed_of(number))

    def shown(self, number: int) -> int | str:
        return self.conditions[number % len(self.conditions)]
