"""What a run of score or generate tells a calibration: its scores, of finished images or of images on their way, and how they are made."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...core.options import Direction, Scorer
from ...core.search.scoring import DIRECTION_OF_SCORER
from ...core.selection.calibration import Calibration, scorer_of
from ...core.selection.settings import OF_HOST, PROMPT_KIND
from ..shared.ledger import Ledger
from ..shared.notes import settings_code
from ..shared.records import DRAWINGS, MADE_WITH

ON_THE_WAY = (*OF_HOST, "steps", "cfg")  # what a score on the way hangs on: how finished images are scored is nothing to it


class Image(NamedTuple):
    """score, further: None where there is none. stopped: on its way, so that it has no finished score; others without one are left out."""

    file: str
    score: float | None
    further: Mapping[str, float | None]
    stopped: bool


@dataclass(frozen=True)
class RunScores:
    """name: of the run, the same whenever it is read. in_order: whether images only ever come behind those that are there."""

    name: str
    folder: str
    quantity: str
    direction: Direction
    made_with: Mapping[str, str]
    images: Sequence[Image]
    in_order: bool

    def since(self, count: int, history: Calibration) -> RunScores:
        """Without the ``count`` images that the history holds. Raises ValueError where it isn't known which those are."""
        if count in (0, len(self.images)) or self.in_order:
            return replace(self, images=self.images[count:])
        known = set(history.scores.tolist())
        new = [image for image in self.images if image.score not in known]
        if len(new) != len(self.images) - count:  # a score was thinned out, or another image has the same
            raise ValueError(
                f"The file holds {count} images of {self.folder!r}, which has {len(self.images)} now, and which of these are new is not "
                "known: name another file with --out, and add all folders to it once more."
            )
        return replace(self, images=new)

    @property
    def scores(self) -> Tensor:
        return as_tensor([image.score for image in self.images])

    @property
    def further(self) -> dict[str, Tensor]:
        names = sorted({name for image in self.images for name in image.further})
        return {name: as_tensor([image.further.get(name) for image in self.images]) for name in names}

    def of_kind(self, prompt_kind: str) -> RunScores:
        """The same, and what is drawn, in a word."""
        return replace(self, made_with={**self.made_with, PROMPT_KIND: prompt_kind}) if prompt_kind else self

    def calibration(self, new: RunScores) -> Calibration:
        """Of ``new``, the images of this run that a file does not hold yet; those that were stopped count as the worst of the whole run."""
        finished = [image.score for image in self.images if image.score is not None]
        worst = max(finished) if self.direction is Direction.HIGH_IS_BAD else min(finished)
        scores = as_tensor([worst if image.score is None else image.score for image in new.images])
        fit = Calibration.fit([scores], self.direction, self.quantity, [self.made_with])
        return replace(fit, collected={self.name: len(self.images)})


def as_tensor(values: Sequence[float | None]) -> Tensor:
    return torch.tensor([math.nan if value is None else value for value in values], dtype=torch.float64)


def read_run(ledger: Ledger, early: bool) -> RunScores:
    """early: what images scored on their way. Raises ValueError where a run has no such scores."""
    header, folder, is_drawn = ledger.header, ledger.path.parent, ledger.form is DRAWINGS
    quantity, direction = header["quantity"].replace("-", "_"), Direction(header["direction"])  # as results in the hosts have it
    made_with, scorer = header.get(MADE_WITH, {}), None
    if early:
        if "early" not in header:
            raise ValueError(
                f"The images in {str(folder)!r} were not scored on their way: draw some with generate --early-at, such as --early-at 0.5."
            )
        quantity, scorer = header["early"], scorer_of(header["early"])
        direction = DIRECTION_OF_SCORER[Scorer(scorer)]
        made_with = {name: value for name, value in made_with.items() if name in ON_THE_WAY}
    images = [image_of(record, scorer) for record in (drawn_in_order(ledger) if is_drawn else ledger.records())]
    images = [image for image in images if image.score is not None or image.stopped]
    if all(image.score is None for image in images):
        stopped = f" {len(images)} were stopped on their way: --early collects what those scored there." if images else ""
        raise ValueError(f"No image in {str(folder)!r} has a score yet: wait for the first ones of score or generate.{stopped}")
    name = settings_code(ledger.options | {"where": "" if is_drawn else folder.resolve().as_posix()})  # a drawn run is its options
    return RunScores(name, str(folder), quantity, direction, made_with, images, is_drawn)


def drawn_in_order(ledger: Ledger) -> Iterator[Mapping[str, Any]]:
    """Image 0, 1, 2, .., finished or stopped, up to the first that is not there yet."""
    records = heapq.merge(ledger.records(), ledger.skipped().values(), key=lambda record: record["image"])
    for number, record in enumerate(records):
        if record["image"] != number:
            return
        yield record


def image_of(record: Mapping[str, Any], scorer: str | None) -> Image:
    """scorer: of what it scored on its way; None: its finished score."""
    stopped = "saved" in record
    file = "" if stopped else record["file"] or ""
    if scorer is None:
        return Image(file, None if stopped else record["score"], {}, stopped)
    early = dict(record.get("early") or {})
    return Image(file, early.pop(scorer, None), early, stopped)
