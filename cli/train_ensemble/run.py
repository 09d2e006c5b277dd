"""The train-ensemble command: a folder of images becomes an ensemble's file, in a run that can be stopped and gone on with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from PIL import ImageOps

from ...core.ensemble.file import EnsembleParameters
from ...core.ensemble.training import FailedSamplesError
from ...core.options import EnsembleKind
from ...hosts.diffusers.demo import DemoModel
from ...hosts.diffusers.ensemble.train import TrainingPlan, train_loras, train_tables, train_words
from ...hosts.diffusers.images import prepare
from ...hosts.diffusers.load import load_pipeline, loading_bars, pipeline_kind
from ...hosts.diffusers.watch import network_of
from ..shared.checks import DEMO
from ..shared.device import check_device
from ..shared.pictures import ImageFile, find_images, find_images_below
from ..shared.progress import on_terminal, progress_bar
from .images import encode_images, read_captions
from .options import TrainOptions

Train = Callable[[TrainingPlan], EnsembleParameters]
log = logging.getLogger(__name__)
LOSSES_AT_END = 10  # steps over which the last loss is averaged


def run(options: TrainOptions) -> EnsembleParameters:
    """Train, save to ``out``, export where asked for; returns the ensemble."""
    check_device(options.device)
    train, images = prepare_tables(options) if options.model == DEMO else prepare_pipeline(options)
    if options.checkpoint.exists():
        log.info("Going on with %s", options.checkpoint)
    steps = options.training.steps
    with progress_bar("Train", options.members * steps, "step") as bar, failures_named(images):

        def progress(member: int, step: int, loss: float) -> None:
            bar.set_postfix(member=member + 1, loss=f"{loss:.4f}", refresh=False)
            bar.update(member * steps + step - bar.n)

        ensemble = train(TrainingPlan(options.members, options.training, options.bootstrap, options.checkpoint, progress))
    ensemble.save(options.out)
    options.checkpoint.unlink(missing_ok=True)
    if options.export is not None:
        for path in ensemble.export(options.export, options.out.stem):
            log.info("Exported %s", path)
    if len(ensemble) == 1:
        log.warning("One member has none to disagree with, so its uncertainty is 0: train two or more.")
    last = [sum(m.losses[-LOSSES_AT_END:]) / len(m.losses[-LOSSES_AT_END:]) for m in ensemble.members]
    log.info("Trained %d members, loss at the end %.4f to %.4f: %s", len(ensemble), min(last), max(last), options.out)
    return ensemble


@contextmanager
def failures_named(images: Sequence[ImageFile]) -> Iterator[None]:
    """Training samples that fail are told by the names of the images."""
    try:
        yield
    except FailedSamplesError as error:
        names = ", ".join(images[sample].name for sample in error.samples)
        raise ValueError(f"The model's loss is not finite for {names}: take that out of the folder and start again.") from error


def prepare_tables(options: TrainOptions) -> tuple[Train, Sequence[ImageFile]]:
    """The training, and the images that its samples are of."""
    images = find_images(options.folder, None, by_class=True)
    model = DemoModel(options.device)
    clean, images = encode_images(model, images, model.fitted)
    labels = torch.tensor([image.label for image in images])
    return (lambda plan: train_tables(model.network, model.scheduler, clean, labels, plan)), images


def prepare_pipeline(options: TrainOptions) -> tuple[Train, Sequence[ImageFile]]:
    pipeline_kind(options.model)
    images = find_images_below(options.folder)
    captions = read_captions(images, options)
    with loading_bars(shown=on_terminal()):
        pipe: Any = load_pipeline(options.model, options.device, torch.float32)  # which of its parts it has depends on its kind
    model = prepare(pipe, "")
    network: Any = network_of(pipe)
    side = options.size or network.config.sample_size * pipe.vae_scale_factor
    clean, images = encode_images(
        model, [image for image in images if image.name in captions], lambda picture: model.fitted(ImageOps.fit(picture, (side, side)))
    )
    prompts = [captions[image.name] for image in images]
    if options.member_kind is EnsembleKind.LORA:
        return (lambda plan: train_loras(pipe, clean, prompts, plan, options.rank)), images
    return (lambda plan: train_words(pipe, clean, prompts, plan, options.vectors, options.begin)), images
