"""The train-ensemble command: a folder of images becomes an ensemble's file, in a run that can be stopped and gone on with."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from tqdm import tqdm

from ...core.ensemble.file import EnsembleParameters
from ...core.ensemble.training import FailedSamplesError
from ...core.files import remove_leftovers
from ...hosts.diffusers.load import pipeline_kind
from ..shared.checks import DEMO
from ..shared.device import check_device
from ..shared.engine import Engine, OneProcess
from ..shared.pictures import ImageFile
from ..shared.progress import progress_bar
from .options import TrainOptions
from .worker import DemoTrainer, MemberWorker, PipelineTrainer, TrainingData, load_trainer

log = logging.getLogger(__name__)
LOSSES_AT_END = 10  # steps over which the last loss is averaged


def run(options: TrainOptions, engine: Engine | None = None) -> EnsembleParameters:
    """Train, save to ``out``, export where asked for; returns the ensemble."""
    check_device(options.device)
    if options.model != DEMO:
        pipeline_kind(options.model, options.loading.setup())
    checkpoints = [options.checkpoint(member) for member in range(options.members)]
    if begun := sum(checkpoint.exists() for checkpoint in checkpoints):
        log.info("Going on with %d members of %d that an earlier run began.", begun, options.members)
    trainer = load_trainer(options)
    ensemble = train_members(options, trainer, trainer.encode(), engine or OneProcess())
    ensemble.save(options.out)
    for path in (options.out, *checkpoints):
        remove_leftovers(path)
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)
    if options.export is not None:
        for path in ensemble.export(options.export, options.out.stem):
            log.info("Exported %s", path)
    if len(ensemble) == 1:
        log.warning("One member has none to disagree with, so its uncertainty is 0: train two or more.")
    last = [sum(m.losses[-LOSSES_AT_END:]) / len(m.losses[-LOSSES_AT_END:]) for m in ensemble.members]
    log.info("Trained %d members, loss at the end %.4f to %.4f: %s", len(ensemble), min(last), max(last), options.out)
    return ensemble


def train_members(options: TrainOptions, trainer: DemoTrainer | PipelineTrainer, data: TrainingData, engine: Engine) -> EnsembleParameters:
    """Each member is a task, which keeps what it has done beside ``out``."""
    steps, parts = options.training.steps, {}
    with progress_bar("Train", options.members * steps, "step") as bar, failures_named(data.images):
        if engine.elsewhere:
            data = replace(data, clean=data.clean.cpu())
            results = engine.run(partial(MemberWorker.load, options, data), iter(range(options.members)))
        else:
            worker = MemberWorker(trainer, data, partial(show_step, bar, steps))
            results = engine.run(lambda: worker, iter(range(options.members)))
        for member, part in results:
            parts[member] = part
            bar.update(len(parts) * steps - bar.n)
    return replace(parts[0], members=tuple(parts[member].members[0] for member in sorted(parts)))


def show_step(bar: tqdm, steps: int, member: int, step: int, loss: float) -> None:
    bar.set_postfix(member=member + 1, loss=f"{loss:.4f}", refresh=False)
    bar.update(member * steps + step - bar.n)


@contextmanager
def failures_named(images: Sequence[ImageFile]) -> Iterator[None]:
    """Training samples that fail are told by the names of the images."""
    try:
        yield
    except FailedSamplesError as error:
        names = ", ".join(images[sample].name for sample in error.samples)
        raise ValueError(f"The model's loss is not finite for {names}: take that out of the folder and start again.") from error
