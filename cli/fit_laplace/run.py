"""The fit-laplace command: a folder of images becomes a model's last-layer posterior, in a run that can be stopped and gone on with."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ...core.demo.extractor import load_reference
from ...core.last_layer.laplace import Laplace
from ...core.options import Covariance, LaplaceOptions
from ...hosts.diffusers.demo_images import DemoModel
from ...hosts.diffusers.images import ImageModel, load_captioned, pipeline_kind
from ...hosts.diffusers.information import Cond
from ...hosts.diffusers.last_layer.laplace import fit
from ..shared.checks import check_device
from ..shared.pictures import Found, find, read

ModelOf = Callable[[str], ImageModel]  # of a caption

log = logging.getLogger(__name__)
DEMO = "demo"
SERVES = 1000  # noisy copies that tell the shape of the posterior
SPREAD = 10_000  # how many its width is that of, however many there are: what was measured to find bad images
SAVE_EVERY = 10.0  # seconds


@dataclass(frozen=True)
class FitOptions:
    """draws, noise_variance None: chosen by how many images there are."""

    folder: Path | None
    out: Path
    model: str = DEMO
    label: int | None = None
    prompt: str = ""
    draws: int | None = None
    covariance: Covariance = Covariance.DIAGONAL
    prior_precision: float = 1.0
    noise_variance: float | None = None
    layer: str = ""
    seed: int = 0
    batch: int = 8
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.laplace(SERVES)  # bad numbers are refused now, not after the model was loaded
        if self.out.suffix != ".safetensors":
            raise ValueError(f"out must name a .safetensors file, got {str(self.out)!r}.")
        if self.out.exists():
            raise ValueError(f"{str(self.out)!r} is already there: choose another name for out, or delete it.")
        if self.model == DEMO and self.prompt:
            raise ValueError("The demo model knows no prompts; name a digit with --class.")
        if self.model != DEMO and self.label is not None:
            raise ValueError(f"--class is for the demo model; give --prompt for {self.model!r}.")
        if self.model != DEMO and self.folder is None:
            raise ValueError("The folder of images is missing: give one with images like those that the model was trained on.")
        check_device(self.device)
        if self.model != DEMO:
            pipeline_kind(self.model)

    def laplace(self, images: int) -> LaplaceOptions:
        draws = self.draws or max(1, -(-SERVES // max(images, 1)))
        variance = images * draws / SPREAD if self.noise_variance is None else self.noise_variance
        return LaplaceOptions(self.covariance, self.prior_precision, variance, draws, self.seed)


@dataclass(frozen=True)
class Sample:
    """One image of the fit; picture where it lies in no file. caption: what it shows, for pipelines."""

    name: str
    mark: str
    label: int | None
    caption: str = ""
    path: Path | None = None
    picture: Image.Image | None = field(default=None, repr=False)

    @classmethod
    def of(cls, found: Found, prompt: str) -> Sample:
        beside = found.path.with_suffix(".txt")
        caption = beside.read_text(encoding="utf-8").strip() if beside.is_file() else prompt
        return cls(found.name, f"{found.name} {found.size} {found.mtime_ns}", found.label, caption, found.path)

    def read(self) -> Image.Image:
        """Raises ValueError, in a sentence: a fit that goes on counts on every image."""
        try:
            return self.picture or read(self.path)
        except ValueError as error:
            raise ValueError(f"{self.name} is no readable image ({error}): mend it, or take it out of the folder.") from error


def run(options: FitOptions) -> Laplace:
    """Fit, and write to ``out``; returns the fit."""
    samples = gathered(options)
    wanted = options.laplace(len(samples))
    partial = partial_path(options, samples, wanted)
    earlier = Laplace.load(partial) if partial.exists() else None
    if earlier is not None:
        log.info("Going on after %d of %d images.", earlier.seen, len(samples))
    log.info("To fit: %d images, %d model calls each.", len(samples), wanted.draws)
    model_of = loaded(options)
    model, keeper = model_of(""), Keeper(partial, earlier)
    with logging_redirect_tqdm(), tqdm(total=len(samples), initial=keeper.seen, desc="Fit", unit="image") as bar:
        data = batches(samples, model_of, options.batch, keeper.seen)

        def progress(done: Laplace) -> None:
            keeper.take(done)
            bar.update(done.seen - bar.n)

        try:
            fitted = fit(model.network, model.scheduler, data, wanted, options.layer, earlier, progress)
        finally:
            keeper.save()
    fitted.save(options.out)
    partial.unlink(missing_ok=True)
    log.info("Fitted the last layer %s on %d images: %s", fitted.identity.name, fitted.seen, options.out)
    return fitted


@dataclass
class Keeper:
    """What is done so far, written now and then, and when the run ends in any way."""

    path: Path
    latest: Laplace | None
    saved_at: float = field(default_factory=time.monotonic)
    saved: bool = True

    @property
    def seen(self) -> int:
        return self.latest.seen if self.latest else 0

    def take(self, done: Laplace) -> None:
        self.latest, self.saved = done, False
        if time.monotonic() - self.saved_at > SAVE_EVERY:
            self.save()

    def save(self) -> None:
        if not self.saved:
            self.latest.save(self.path)
            self.saved, self.saved_at = True, time.monotonic()


def gathered(options: FitOptions) -> list[Sample]:
    """The images of the folder, else the digits that the package holds."""
    if options.folder is None:
        reference = load_reference()
        pixels = ((reference.images[:, 0] + 1) * 127.5).round().byte().numpy()
        labels = reference.labels.tolist() if options.label is None else [options.label] * len(pixels)
        return [Sample(f"digit {i}", str(i), labels[i], picture=Image.fromarray(pixels[i])) for i in range(len(pixels))]
    found = find(options.folder, options.label, by_class=options.model == DEMO and options.label is None)
    return [Sample.of(image, options.prompt) for image in found]


def partial_path(options: FitOptions, samples: Sequence[Sample], wanted: LaplaceOptions) -> Path:
    """Where an unfinished fit of exactly this is kept: beside ``out``, under a name that says of what it is."""
    model = options.model if options.model == DEMO else Path(options.model).resolve().as_posix()
    marks = [f"{s.mark} {s.label} {s.caption}" for s in samples]
    exact = "\n".join([model, options.layer, str(options.batch), str(replace(wanted, prior_precision=1.0)), *marks])
    return options.out.with_name(f"{options.out.stem}.{hashlib.sha256(exact.encode()).hexdigest()[:12]}.partial.safetensors")


def loaded(options: FitOptions) -> ModelOf:
    if options.model != DEMO:
        return load_captioned(options.model, options.device)
    model = DemoModel(options.device)
    return lambda caption: model


def batches(samples: Sequence[Sample], model_of: ModelOf, size: int, seen: int) -> Iterator[tuple[Tensor, Cond]]:
    """Clean latents and their conditions; neighbours of one size and caption share a batch. Those before ``seen`` are counted only."""
    place, model = 0, model_of("")
    for chunk in (samples[i : i + size] for i in range(0, len(samples), size)):
        if place + len(chunk) <= seen:
            place += len(chunk)
            yield torch.empty(len(chunk), 0), {}
            continue
        fitted = [(sample, model.fitted(sample.read())) for sample in chunk]
        for (_, caption), group in groupby(fitted, key=lambda pair: (pair[1].size, pair[0].caption)):
            own, pictures = zip(*group, strict=True)
            place += len(own)
            if place <= seen:
                yield torch.empty(len(own), 0), {}
                continue
            latents = model.encode(pictures)
            yield latents, model_of(caption).conditions(latents, [sample.label for sample in own])[0]
