"""The work of the train-ensemble command: a model, the images that it is trained on, and members of the ensemble by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import ImageOps
from torch import Tensor

from ...core.ensemble.file import EnsembleParameters
from ...core.ensemble.training import TrainingProgress
from ...core.options import EnsembleKind
from ...hosts.diffusers.demo import DemoModel
from ...hosts.diffusers.ensemble.train import TrainingPlan, train_loras, train_tables, train_words
from ...hosts.diffusers.images import prepare
from ...hosts.diffusers.load import load_pipeline, loading_bars
from ...hosts.diffusers.watch import network_of
from ..shared.checks import DEMO
from ..shared.pictures import ImageFile, find_images, find_images_below
from ..shared.progress import on_terminal
from .images import encode_images, read_captions
from .options import TrainOptions


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Latents (N, C, ..) and the images that they are of, each with its caption where the model reads any."""

    clean: Tensor
    images: Sequence[ImageFile]
    captions: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class DemoTrainer:
    options: TrainOptions
    model: DemoModel

    def encode(self) -> TrainingData:
        images = find_images(self.options.folder, None, by_class=True)
        return TrainingData(*encode_images(self.model, images, self.model.fitted))

    def train(self, data: TrainingData, plan: TrainingPlan) -> EnsembleParameters:
        labels = torch.tensor([image.label for image in data.images])
        return train_tables(self.model.network, self.model.scheduler, data.clean.to(self.model.device), labels, plan)


@dataclass(frozen=True, eq=False)
class PipelineTrainer:
    options: TrainOptions
    pipe: Any  # which of its parts it has depends on its kind

    def encode(self) -> TrainingData:
        images = find_images_below(self.options.folder)
        captions = read_captions(images, self.options)
        model = prepare(self.pipe, "")
        network: Any = network_of(self.pipe)
        side = self.options.size or network.config.sample_size * self.pipe.vae_scale_factor
        captioned = [image for image in images if image.name in captions]
        clean, images = encode_images(model, captioned, lambda picture: model.fitted(ImageOps.fit(picture, (side, side))))
        return TrainingData(clean, images, [captions[image.name] for image in images])

    def train(self, data: TrainingData, plan: TrainingPlan) -> EnsembleParameters:
        o, clean = self.options, data.clean.to(self.pipe.device)
        if o.member_kind is EnsembleKind.LORA:
            return train_loras(self.pipe, clean, data.captions, plan, o.rank)
        return train_words(self.pipe, clean, data.captions, plan, o.vectors, o.begin)


def load_trainer(options: TrainOptions) -> DemoTrainer | PipelineTrainer:
    if options.model == DEMO:
        return DemoTrainer(options, DemoModel(options.device))
    with loading_bars(shown=on_terminal()):
        loading = options.loading
        return PipelineTrainer(options, load_pipeline(options.model, options.device, loading.dtype or torch.float32, loading.setup()))


@dataclass(frozen=True, eq=False)
class MemberWorker:
    """progress: of each step, where it is done in the process that shows it."""

    trainer: DemoTrainer | PipelineTrainer
    data: TrainingData
    progress: TrainingProgress | None = None

    @classmethod
    def load(cls, options: TrainOptions, data: TrainingData) -> MemberWorker:
        return cls(load_trainer(options), data)

    def __call__(self, member: int) -> tuple[int, EnsembleParameters]:
        """The member's number, and an ensemble of it alone."""
        o = self.trainer.options
        plan = TrainingPlan(o.members, o.training, o.bootstrap, Path(o.checkpoint(member)), self.progress, member)
        return member, self.trainer.train(self.data, plan)
