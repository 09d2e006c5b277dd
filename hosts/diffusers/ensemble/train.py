"""diffusers host: train ensembles of class-embedding tables, of one word's embeddings, or of LoRAs; the model stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor, nn

from ....core.ensemble.bootstrap import bootstraps
from ....core.ensemble.file import EnsembleParameters, MemberParameters
from ....core.ensemble.training import Enter, TrainedMember, TrainingProgress, train
from ....core.last_layer.find import Identity, find_last_layer
from ....core.options import LEARNING_RATES, BootstrapOptions, EnsembleKind, EnsembleTrainingOptions, check_whole
from ..images import PipelineModel, encode_prompts, prepare
from ..information import Cond
from ..last_layer.laplace import network_training
from .gradients import gradients_off, networks_of
from .lora import name_lora_tensors, start_loras
from .tables import start_tables, tables
from .words import STAR, Word


@dataclass(frozen=True)
class TrainingPlan:
    """What every kind of ensemble is trained by. checkpoint, progress, only: as in ``core.ensemble.training.train``."""

    members: int = 5
    options: EnsembleTrainingOptions = field(default_factory=EnsembleTrainingOptions)
    bootstrap: BootstrapOptions = field(default_factory=BootstrapOptions)
    checkpoint: Path | None = None
    progress: TrainingProgress | None = None
    only: int | None = None


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """A network, training samples (N, C, ...) and, for some of them by number, the network's other inputs."""

    kind: EnsembleKind
    network: nn.Module
    scheduler: SchedulerMixin
    clean: Tensor
    conditions: Callable[[Tensor], Cond]

    def train(self, enter: Enter, plan: TrainingPlan, labels: Tensor | None = None) -> list[TrainedMember]:
        training = network_training(self.network, self.scheduler)
        loss = replace(training, predict=lambda x, sigma, rows: training.predict(x, sigma, self.conditions(rows)))
        rows = bootstraps(len(self.clean), plan.members, plan.bootstrap, labels)
        return train(loss, self.clean, rows, enter, LEARNING_RATES[self.kind], plan.options, plan.checkpoint, plan.progress, plan.only)

    def ensemble(self, members: Sequence[TrainedMember], plan: TrainingPlan, more: dict[str, str] | None = None) -> EnsembleParameters:
        """The finished members, by the network that they belong to and how they were made."""
        provenance = {"host": "diffusers", "model": type(self.network).__name__, "samples": str(len(self.clean))}
        provenance |= {name: f"{value:g}" for name, value in asdict(plan.options).items()}
        provenance |= {"learning_rate": f"{plan.options.learning_rate or LEARNING_RATES[self.kind]:g}"}
        provenance |= {f"bootstrap_{name}": str(getattr(value, "value", value)) for name, value in asdict(plan.bootstrap).items()}
        first = 1 if plan.only is None else plan.only + 1
        named = tuple(MemberParameters(f"member {k}", t.parameters, t.losses) for k, t in enumerate(members, first))
        return EnsembleParameters(self.kind, named, Identity.of(self.network, find_last_layer(self.network)), provenance | (more or {}))


def train_tables(
    network: nn.Module, scheduler: SchedulerMixin, clean: Tensor, labels: Tensor, plan: TrainingPlan | None = None
) -> EnsembleParameters:
    """Class-embedding tables for a class-conditional network, each on its own bootstrap of every class.

    clean: (N, C, H, W) latents, or images for a network that has no VAE; labels: (N,) their classes.
    Raises what ``core.ensemble.training.train`` raises; ValueError for a network without a table, or without a row for a label.
    """
    plan = plan or TrainingPlan()
    for name, table in tables(network).items():
        if int(labels.max()) >= len(table):
            raise ValueError(f"labels must be below {len(table)}, the rows of {name}, got {int(labels.max())}.")
    task = TrainingTask(
        EnsembleKind.CLASS_EMBEDDING, network, scheduler, clean, lambda rows: {"class_labels": labels[rows].to(clean.device)}
    )
    with gradients_off(network):
        members = task.train(start_tables(network, labels, plan.options.seed), plan, labels)
    return task.ensemble(members, plan)


def train_loras(
    pipe: DiffusionPipeline, clean: Tensor, prompts: Sequence[str], plan: TrainingPlan | None = None, rank: int = 4
) -> EnsembleParameters:
    """LoRAs on the attention of a text-to-image pipeline's network. clean: (N, C, H, W) latents; prompts: one for each.

    Raises what ``core.ensemble.training.train`` raises; ValueError for a network that takes no LoRA or has one already.
    """
    plan = plan or TrainingPlan()
    check_whole("rank", rank, 1, 1024)
    check_prompts(prompts, clean)
    model = prepare(pipe, "")
    with torch.no_grad():
        encoded = encode_prompts(pipe, list(prompts), "")[0]
    task = TrainingTask(EnsembleKind.LORA, model.network, pipe.scheduler, clean, lambda rows: pick_rows(model, encoded, rows, clean))
    with gradients_off(*networks_of(pipe)):
        members = task.train(start_loras(model.network, rank, plan.options.seed), plan)
    made = [replace(t, parameters=name_lora_tensors(model.network, t.parameters)) for t in members]
    return task.ensemble(made, plan, {"rank": str(rank)})


def train_words(
    pipe: DiffusionPipeline, clean: Tensor, prompts: Sequence[str], plan: TrainingPlan | None = None, vectors: int = 1, begin: str = ""
) -> EnsembleParameters:
    """One new word for a text-to-image pipeline: ``vectors`` vectors for each text encoder, in the prompts where they say ``*``.

    begin: words whose vectors it begins with; random ones when empty. Raises what ``core.ensemble.training.train`` raises;
    ValueError for a prompt without ``*``, and a pipeline without text encoders.
    """
    plan = plan or TrainingPlan()
    check_whole("vectors", vectors, 1, 64)
    check_prompts(prompts, clean)
    if dumb := next((prompt for prompt in prompts if STAR not in prompt), None):
        raise ValueError(f"Each prompt must say {STAR} where the new word belongs, got {dumb!r}.")
    model, word = prepare(pipe, ""), Word.of(pipe, prompts, vectors)

    def conditions(rows: Tensor) -> Cond:
        encoded = word.encode([prompts[i] for i in rows.tolist()])[0]
        return pick_rows(model, encoded, torch.arange(len(rows)), clean)

    task = TrainingTask(EnsembleKind.EMBEDDING, model.network, pipe.scheduler, clean, conditions)
    with gradients_off(*networks_of(pipe)):
        members = task.train(word.fresh(begin, plan.options.seed), plan)
    return task.ensemble(members, plan, {"vectors": str(vectors), "begin": begin})


def pick_rows(model: PipelineModel, encoded: Cond, rows: Tensor, clean: Tensor) -> Cond:
    """Encoded prompts of some samples as the network takes them."""
    latents = clean[:1].expand(len(rows), *clean.shape[1:])  # of which the size counts; a step may take more than there are
    return model.inputs({name: value[rows.to(value.device)] for name, value in encoded.items()}, latents)


def check_prompts(prompts: Sequence[str], clean: Tensor) -> None:
    if len(prompts) != len(clean):
        raise ValueError(f"prompts must hold one for each of {len(clean)} samples, got {len(prompts)}.")
