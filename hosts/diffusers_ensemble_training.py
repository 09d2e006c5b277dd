"""diffusers host: train ensembles of class-embedding tables, of one word's embeddings, or of LoRAs; the network stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from diffusers import SchedulerMixin
from torch import Tensor, nn

from ..core.bootstrap import bootstraps
from ..core.ensemble_file import Ensemble, Member
from ..core.ensemble_training import Progress, Trained, train
from ..core.last_layer import Identity, find_last_layer
from ..core.options import LEARNING_RATES, BootstrapOptions, EnsembleKind, EnsembleTrainingOptions
from .diffusers_tables import fresh_tables, tables
from .diffusers_training import training


def train_tables(
    network: nn.Module,
    scheduler: SchedulerMixin,
    clean: Tensor,
    labels: Tensor,
    members: int = 5,
    options: EnsembleTrainingOptions | None = None,
    bootstrap: BootstrapOptions | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Ensemble:
    """Class-embedding tables for a class-conditional network, each on its own bootstrap of every class.

    clean: (N, C, H, W) latents, or images for a network that has no VAE; labels: (N,) their classes. Further arguments, and what
    is raised: as ``core.ensemble_training.train``; ValueError too for a network without a table, or labels that it has no row for.
    """
    options, bootstrap = options or EnsembleTrainingOptions(), bootstrap or BootstrapOptions()
    rows = bootstraps(len(clean), members, bootstrap, labels)
    for name, table in tables(network).items():
        if int(labels.max()) >= len(table):
            raise ValueError(f"labels must be below {len(table)}, the rows of {name}, got {int(labels.max())}.")
    loss = training(network, scheduler, lambda pick: {"class_labels": labels[pick].to(clean.device)})
    rate = LEARNING_RATES[EnsembleKind.CLASS_EMBEDDING]
    with frozen(network):
        trained = train(loss, clean, rows, fresh_tables(network, labels, options.seed), rate, options, checkpoint, progress)
    return gathered(EnsembleKind.CLASS_EMBEDDING, trained, network, options, bootstrap, len(clean))


def gathered(
    kind: EnsembleKind,
    trained: list[Trained],
    network: nn.Module,
    options: EnsembleTrainingOptions,
    bootstrap: BootstrapOptions,
    samples: int,
) -> Ensemble:
    members = tuple(Member(f"member {k + 1}", t.parameters, t.losses) for k, t in enumerate(trained))
    said = {"host": "diffusers", "model": type(network).__name__, "samples": str(samples)}
    said |= {name: f"{value:g}" for name, value in asdict(options).items()}
    said |= {"bootstrap": bootstrap.kind.value, "bootstrap_size": str(bootstrap.size), "bootstrap_seed": str(bootstrap.seed)}
    return Ensemble(kind, members, Identity.of(network, find_last_layer(network)), said)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """In eval mode and without gradients of its own, inside the block; as it was on every exit."""
    modes = {module: module.training for module in network.modules()}
    needs = {parameter: parameter.requires_grad for parameter in network.parameters()}
    try:
        network.eval().requires_grad_(False)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, need in needs.items():
            parameter.requires_grad_(need)
