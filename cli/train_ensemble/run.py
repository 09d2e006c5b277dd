"""The train-ensemble command: a folder of images becomes an ensemble's file, in a run that can be stopped and gone on with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ...core.ensemble.file import Ensemble
from ...core.options import BootstrapOptions, EnsembleKind, EnsembleTrainingOptions, check_range, check_whole
from ...hosts.diffusers.demo_images import DemoModel
from ...hosts.diffusers.ensemble.train import Plan, train_loras, train_tables, train_words
from ...hosts.diffusers.images import ImageModel, load_pipeline, pipeline_kind, prepare
from ..shared.checks import check_device
from ..shared.pictures import Found, find, images_in, read

log = logging.getLogger(__name__)
DEMO = "demo"
ENCODED = 4  # images that are encoded at once


@dataclass(frozen=True)
class TrainOptions:
    """kind None: what the model can: class embeddings for the demo, LoRAs for pipelines. size: sides of the images, 0 = the model's."""

    folder: Path
    out: Path
    model: str = DEMO
    kind: EnsembleKind | None = None
    members: int = 5
    training: EnsembleTrainingOptions = EnsembleTrainingOptions()
    bootstrap: BootstrapOptions = BootstrapOptions()
    rank: int = 4
    vectors: int = 1
    begin: str = ""
    prompt: str = ""
    size: int = 0
    device: str = "cpu"
    export: Path | None = None

    def __post_init__(self) -> None:
        check_whole("members", self.members, 1, 1024)
        check_range("size", self.size, 0, 16384)
        if (self.model == DEMO) != (self.chosen is EnsembleKind.CLASS_EMBEDDING):
            able = "class_embedding" if self.model == DEMO else "embedding and lora"
            raise ValueError(f"kind {self.chosen.value} can't be trained on {self.model!r}, which takes {able}.")
        if self.export is not None and self.chosen is EnsembleKind.CLASS_EMBEDDING:
            raise ValueError("Class-embedding tables have no file format of their own: leave export out.")
        if self.out.suffix != ".safetensors":
            raise ValueError(f"out must name a .safetensors file, got {str(self.out)!r}.")
        if self.out.exists():
            raise ValueError(f"{str(self.out)!r} is already there: choose another name for out, or delete it.")
        check_device(self.device)

    @property
    def chosen(self) -> EnsembleKind:
        return self.kind or (EnsembleKind.CLASS_EMBEDDING if self.model == DEMO else EnsembleKind.LORA)

    @property
    def checkpoint(self) -> Path:
        return self.out.with_suffix(".checkpoint.safetensors")


def run(options: TrainOptions) -> Ensemble:
    """Train, save to ``out``, export where asked for; returns the ensemble."""
    train = prepared_tables(options) if options.model == DEMO else prepared_pipeline(options)
    if options.checkpoint.exists():
        log.info("Going on with %s", options.checkpoint)
    total = options.members * options.training.steps
    with logging_redirect_tqdm(), tqdm(total=total, desc="Train", unit="step") as bar:

        def progress(member: int, step: int, loss: float) -> None:
            bar.set_postfix(member=member + 1, loss=f"{loss:.4f}", refresh=False)
            bar.update(member * options.training.steps + step - bar.n)

        ensemble = train(Plan(options.members, options.training, options.bootstrap, options.checkpoint, progress))
    ensemble.save(options.out)
    options.checkpoint.unlink(missing_ok=True)
    if options.export is not None:
        for path in ensemble.export(options.export, options.out.stem):
            log.info("Exported %s", path)
    if len(ensemble) == 1:
        log.warning("One member has none to disagree with, so its uncertainty is 0: train two or more.")
    last = [sum(m.losses[-10:]) / len(m.losses[-10:]) for m in ensemble.members]
    log.info("Trained %d members, loss at the end %.4f to %.4f: %s", len(ensemble), min(last), max(last), options.out)
    return ensemble


def prepared_tables(options: TrainOptions) -> Callable[[Plan], Ensemble]:
    found = find(options.folder, None, by_class=True)
    model = DemoModel(options.device)
    clean, labels = encoded(model, found, model.fitted), torch.tensor([image.label for image in found])
    return lambda plan: train_tables(model.network, model.scheduler, clean, labels, plan)


def prepared_pipeline(options: TrainOptions) -> Callable[[Plan], Ensemble]:
    found = find_all(options.folder)
    prompts = [caption(image, options) for image in found]
    pipeline_kind(options.model)
    pipe = load_pipeline(options.model, options.device, torch.float32)
    model = prepare(pipe, "")
    side = options.size or (getattr(pipe, "unet", None) or pipe.transformer).config.sample_size * pipe.vae_scale_factor
    clean = encoded(model, found, lambda picture: model.fitted(ImageOps.fit(picture.convert("RGB"), (side, side))))
    if options.chosen is EnsembleKind.LORA:
        return lambda plan: train_loras(pipe, clean, prompts, plan, options.rank)
    return lambda plan: train_words(pipe, clean, prompts, plan, options.vectors, options.begin)


def encoded(model: ImageModel, found: list[Found], fitted: Callable[[Image.Image], Image.Image]) -> Tensor:
    """The images as latents, a few at a time. Raises ValueError for one that can't be read: a bootstrap counts on every one."""
    parts = []
    for i in tqdm(range(0, len(found), ENCODED), desc="Encode", unit="batch"):
        pictures = []
        for image in found[i : i + ENCODED]:
            try:
                pictures.append(fitted(read(image.path)))
            except ValueError as error:
                raise ValueError(f"{image.name} is no readable image ({error}): mend it, or take it out of the folder.") from error
        parts.append(model.encode(pictures))
    return torch.cat(parts)


def find_all(folder: Path) -> list[Found]:
    """The images of a folder and of its sub-folders. Raises ValueError where there is none."""
    places = [folder, *sorted(p for p in folder.iterdir() if p.is_dir())] if folder.is_dir() else []
    return [image for place in places for image in images_in(folder, place, None)] or find(folder, None, by_class=False)


def caption(image: Found, options: TrainOptions) -> str:
    """The text beside the image, else the prompt asked for, with the sub-folder's name for ``{folder}``."""
    beside = image.path.with_suffix(".txt")
    text = beside.read_text(encoding="utf-8").strip() if beside.is_file() else options.prompt
    if not text:
        raise ValueError(f"{image.name} has no caption: write {beside.name} beside it, or give one prompt for all.")
    text = text.replace("{folder}", image.path.parent.name)
    return text if options.chosen is EnsembleKind.LORA or "*" in text else f"{text} *"
