"""diffusers host: drawers that count what each image costs, and one each of whose images is the best of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor, nn

from ....core.options import BestOfOptions, Scorer
from ....core.selection.calibration import Calibration
from ..draw import DemoDrawer, PipelineDrawer
from ..information import Cond
from ..watch import network_of
from .best_of import BestOf, best_of
from .until import RowCount


@dataclass(frozen=True)
class CountingDrawer:
    """Draws as ``drawer`` does. calls: network passes of each image's own drawing, by its number; candidate: of several, which it is.

    seeds: of what was chosen among candidates, as ``BestOf.seeds``.
    early: of an image that was looked at on its way what it scored there, by scorer.
    """

    drawer: DemoDrawer | PipelineDrawer
    calls: dict[int, float] = field(default_factory=dict)
    candidate: dict[int, int] = field(default_factory=dict)
    seeds: dict[int, int] = field(default_factory=dict)
    early: dict[int, dict[Scorer, float]] = field(default_factory=dict)

    @property
    def target(self) -> DiffusionPipeline | nn.Module:
        return self.drawer.target

    @property
    def scheduler(self) -> SchedulerMixin | None:
        return self.drawer.scheduler

    @property
    def guidance(self) -> float | None:
        return self.drawer.guidance

    def draw(self, numbers: Sequence[int], steps: int) -> tuple[Tensor, Tensor]:
        with RowCount(network_of(self.target)) as count:
            drawn = self.drawer.draw(numbers, steps)
        for number in numbers:  # an estimator may draw the same again, with other weights: that is its own cost
            self.calls.setdefault(number, count.rows / len(numbers))
        return drawn

    def conditions(self, numbers: Sequence[int], latents: Tensor) -> tuple[Cond, Cond]:
        return self.drawer.conditions(numbers, latents)


class StoppedEarly(Exception):  # noqa: N818  not an error: of this image there is nothing to draw
    """Every candidate of image ``number`` was stopped on its way; ``found`` tells why."""

    def __init__(self, number: int, found: BestOf) -> None:
        super().__init__(f"Image {number} was stopped on its way.")
        self.number, self.found = number, found


@dataclass(frozen=True)
class BestOfDrawer(CountingDrawer):
    """Each image is the best of ``options.candidates``, of which the first is the one that ``drawer`` alone would draw.

    calls: of sampling all candidates as far as they went, and of comparing them.  calibrations: for the mode ``stop``, in which
    ``draw`` raises StoppedEarly for an image none of whose candidates is finished.
    """

    options: BestOfOptions = field(default_factory=BestOfOptions)
    calibrations: tuple[Calibration, ...] = ()

    def draw(self, numbers: Sequence[int], steps: int) -> tuple[Tensor, Tensor]:
        images, latents = zip(*(self.draw_best(number, steps) for number in numbers), strict=True)
        return torch.cat(images), torch.cat(latents)

    def draw_best(self, number: int, steps: int) -> tuple[Tensor, Tensor]:
        options = replace(self.options, keep=1, seed=self.drawer.seed_of(number))
        found = best_of(self.drawer.candidates(number, steps), options=options, calibrations=self.calibrations)
        if options.candidates == 1 and found.rounds:
            self.early[number] = {scorer: float(scores[0]) for scorer, scores in found.rounds[0].scores.items()}
        if found.latents is None:
            raise StoppedEarly(number, found)
        self.calls[number], self.candidate[number] = found.network_rows + found.scoring_rows, found.kept[0]
        self.seeds[number] = found.seeds[0]
        return self.drawer.as_images(found.images), found.latents
