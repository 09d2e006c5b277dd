"""The work of the score command: a model, and batches of pictures that it scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

import numpy as np
from PIL import Image

from ...core.selection.settings import common_settings
from ...hosts.diffusers.demo import DemoModel
from ...hosts.diffusers.images import ImageModel, PipelineModel, load_captioned, load_model, measure, with_captions
from ...hosts.diffusers.load import loading_bars
from ..shared.checks import DEMO
from ..shared.device import enough_memory
from ..shared.maps import small_maps
from ..shared.pictures import ImageFile
from ..shared.progress import on_terminal
from ..shared.records import finite
from .options import ScoreOptions
from .rows import Row

PROMPTS = 64  # encoded ones that are remembered
Readable = tuple[ImageFile, Image.Image]


@dataclass
class Scored:
    """What a batch gave.

    maps: of each row's image, None where none is asked for. resized: the first image that the model does not take as it is, and its sizes
    before and after. made_with: the settings that scores depend on.
    """

    rows: list[Row] = field(default_factory=list)
    maps: list[np.ndarray | None] = field(default_factory=list)
    resized: tuple[str, tuple[int, int], tuple[int, int]] | None = None
    notes: list[str] = field(default_factory=list)
    made_with: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreWorker:
    """model: with the prompt of all images. model_of: of each image's own, where they bring one."""

    options: ScoreOptions
    model: ImageModel
    model_of: Callable[[str], PipelineModel] | None = None

    @classmethod
    def load(cls, options: ScoreOptions) -> ScoreWorker:
        if options.own_prompts:
            model_of = lru_cache(maxsize=PROMPTS)(load_with_prompts(options))
            return cls(options, model_of(""), model_of)
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
            result, errors = measure(self.model_for(images), pictures, [image.label for image in images], o.method(), o.levels)
        seconds = round((time.perf_counter() - start) / len(images), 4)
        if note := result.provenance.get("note"):
            scored.notes.append(note)
        scored.made_with = common_settings([result.provenance])
        standard_errors = [None] * len(images) if errors is None else [finite(error) for error in errors.tolist()]
        scored.maps += small_maps(result) if o.maps else [None] * len(images)
        scored.rows += [
            Row(i.name, i.size, i.mtime_ns, i.label, finite(score), error, result.nfe, seconds, i.prompt)
            for i, score, error in zip(images, result.scores.tolist(), standard_errors, strict=True)
        ]

    def model_for(self, images: Sequence[ImageFile]) -> ImageModel:
        """Each prompt is encoded by itself, so that no score depends on its neighbours'."""
        return self.model if self.model_of is None else with_captions([self.model_of(image.prompt or "") for image in images])


def size_of(pair: Readable) -> tuple[int, int]:
    return pair[1].size


def load(options: ScoreOptions) -> ImageModel:
    if options.model == DEMO:
        return DemoModel(options.device)
    with loading_bars(shown=on_terminal()):
        loading, words = options.loading, (options.prompt or "", options.negative or "")
        return load_model(options.model, *words, options.device, loading.dtype, loading.setup())


def load_with_prompts(options: ScoreOptions) -> Callable[[str], PipelineModel]:
    with loading_bars(shown=on_terminal()):
        loading = options.loading
        return load_captioned(options.model, options.device, loading.dtype, loading.setup(), options.negative or "")
