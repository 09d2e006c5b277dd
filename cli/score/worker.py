"""The work of the score command: a model, and batches of pictures that it scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from PIL import Image

from ...hosts.diffusers.demo import DemoModel
from ...hosts.diffusers.images import ImageModel, load_model, measure
from ...hosts.diffusers.load import loading_bars
from ..shared.checks import DEMO
from ..shared.device import enough_memory
from ..shared.pictures import ImageFile
from ..shared.progress import on_terminal
from ..shared.records import finite
from .options import ScoreOptions
from .rows import Row

Readable = tuple[ImageFile, Image.Image]


@dataclass
class Scored:
    """What a batch gave. resized: the first image that the model does not take as it is, and its sizes before and after."""

    rows: list[Row] = field(default_factory=list)
    resized: tuple[str, tuple[int, int], tuple[int, int]] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ScoreWorker:
    options: ScoreOptions
    model: ImageModel

    @classmethod
    def load(cls, options: ScoreOptions) -> ScoreWorker:
        return cls(options, load(options))

    def __call__(self, batch: Sequence[Readable]) -> Scored:
        """Images of one size share their network calls, and nothing else."""
        scored, fitted = Scored(), [(image, self.model.fitted(picture)) for image, picture in batch]
        for (image, after), (_, before) in zip(fitted, batch, strict=True):
            if after.size != before.size and scored.resized is None:
                scored.resized = image.name, before.size, after.size
        for _, group in groupby(sorted(fitted, key=size_of), key=size_of):
            images, same_size = zip(*group, strict=True)
            self.score(scored, images, same_size)
        return scored

    def score(self, scored: Scored, images: Sequence[ImageFile], pictures: Sequence[Image.Image]) -> None:
        start, o = time.perf_counter(), self.options
        with enough_memory(len(images)):
            result, errors = measure(self.model, pictures, [image.label for image in images], o.method(), o.levels)
        seconds = round((time.perf_counter() - start) / len(images), 4)
        if note := result.provenance.get("note"):
            scored.notes.append(note)
        standard_errors = [None] * len(images) if errors is None else [finite(error) for error in errors.tolist()]
        scored.rows += [
            Row(i.name, i.size, i.mtime_ns, i.label, finite(score), error, result.nfe, seconds)
            for i, score, error in zip(images, result.scores.tolist(), standard_errors, strict=True)
        ]


def size_of(pair: Readable) -> tuple[int, int]:
    return pair[1].size


def load(options: ScoreOptions) -> ImageModel:
    if options.model == DEMO:
        return DemoModel(options.device)
    with loading_bars(shown=on_terminal()):
        return load_model(options.model, options.prompt or "", options.negative or "", options.device)
