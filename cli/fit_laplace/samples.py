"""The images that a posterior is fitted on, and their captions; an unfinished fit is told from another by them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ...core.demo.extractor import load_reference
from ...core.options import LaplaceOptions
from ...hosts.diffusers.demo import DemoModel
from ...hosts.diffusers.images import ImageModel, load_captioned
from ...hosts.diffusers.information import Cond
from ...hosts.diffusers.load import loading_bars
from ..shared.checks import DEMO
from ..shared.pictures import find_images, leave_out, read_picture, with_captions
from ..shared.progress import on_terminal, progress_bar
from .options import FitOptions

ModelOf = Callable[[str], ImageModel]  # of a caption


@dataclass(frozen=True)
class Sample:
    """One image of the fit: a file, or a picture that is in none. version: changes with the file. caption: what it shows, for pipelines."""

    name: str
    version: str
    label: int | None
    caption: str = ""
    path: Path | None = None
    picture: Image.Image | None = field(default=None, repr=False)

    def read(self) -> Image.Image:
        """Raises ValueError for a file that was spoiled since the fit began: it counts on every image."""
        if self.picture is not None:
            return self.picture
        assert self.path is not None
        try:
            return read_picture(self.path)
        except ValueError as error:
            raise ValueError(f"{self.name} is no readable image any more ({error}): run the command again to leave it out.") from error


def collect_samples(options: FitOptions) -> list[Sample]:
    """The images of the folder that can be read, else the digits that the package holds."""
    if options.folder is None:
        reference = load_reference()
        pixels = ((reference.images[:, 0] + 1) * 127.5).round().byte().numpy()
        labels = reference.labels.tolist() if options.label is None else [options.label] * len(pixels)
        return [Sample(f"digit {i}", str(i), labels[i], picture=Image.fromarray(pixels[i])) for i in range(len(pixels))]
    images = find_images(options.folder, options.label, by_class=options.model == DEMO and options.label is None)
    samples = []
    with progress_bar("Read", len(images), "image") as bar:
        for image, caption in with_captions(images, options.prompt):
            try:
                read_picture(image.path)  # what can't be read is better known before a long fit than in it
            except ValueError as error:
                leave_out(image.name, f"is no readable image ({error})")
            else:
                samples.append(Sample(image.name, f"{image.size} {image.mtime_ns}", image.label, caption, image.path))
            bar.update(1)
    return samples


def partial_path(options: FitOptions, samples: Sequence[Sample], laplace: LaplaceOptions) -> Path:
    """Where an unfinished fit of exactly this is kept: beside ``out``, under a name that says of what it is."""
    model = options.model if options.model == DEMO else Path(options.model).resolve().as_posix()
    if loading := options.loading.fingerprint():
        model += f" {json.dumps(loading)}"
    lines = [f"{s.name} {s.version} {s.label} {s.caption}" for s in samples]
    exact = "\n".join([model, options.layer, str(options.batch), str(replace(laplace, prior_precision=1.0)), *lines])
    digest = sha256(exact.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return options.out.with_name(f"{options.out.stem}.{digest}.partial.safetensors")


def load_captioned_model(options: FitOptions) -> ModelOf:
    """A function of the caption; the demo model has none."""
    if options.model != DEMO:
        with loading_bars(shown=on_terminal()):
            return load_captioned(options.model, options.device, options.loading.dtype, options.loading.setup())
    model = DemoModel(options.device)
    return lambda caption: model


def encode_batches(samples: Sequence[Sample], model_of: ModelOf, size: int, seen: int) -> Iterator[tuple[Tensor, Cond]]:
    """Clean latents and their conditions; neighbours of one size and caption share a batch. Those before ``seen`` are counted only."""
    count, model = 0, model_of("")
    for chunk in (samples[i : i + size] for i in range(0, len(samples), size)):
        if count + len(chunk) <= seen:
            count += len(chunk)
            yield torch.empty(len(chunk), 0), {}
            continue
        fitted = [(sample, model.fitted(sample.read())) for sample in chunk]
        for (_, caption), group in groupby(fitted, key=lambda pair: (pair[1].size, pair[0].caption)):
            same, pictures = zip(*group, strict=True)
            count += len(same)
            if count <= seen:
                yield torch.empty(len(same), 0), {}
                continue
            latents = model.encode(pictures)
            yield latents, model_of(caption).conditions(latents, [sample.label for sample in same])[0]
