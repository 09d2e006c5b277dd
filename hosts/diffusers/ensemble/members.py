"""diffusers host: what makes a member: a class-embedding table, a condition of its own, or a LoRA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from ....core.ensemble.file import EnsembleParameters
from ....core.options import EnsembleKind
from ..images import PipelineModel
from ..information import Cond
from .lora import worn
from .tables import lent, stacked, tables
from .words import STAR, Word


@dataclass(frozen=True, eq=False)
class TableMembers:
    """Class-embedding tables. labels: (B,) classes to draw; no_class: the label that stands for none, for guidance.

    Raises ValueError for another kind of ensemble, for members of another network, and for labels that the tables don't have.
    """

    network: nn.Module
    ensemble: EnsembleParameters
    labels: Tensor
    no_class: int | None = None
    together = True

    def __post_init__(self) -> None:
        check_kind(self.ensemble, EnsembleKind.CLASS_EMBEDDING)
        self.ensemble.check(self.network)
        wanted = {name: tuple(table.shape) for name, table in tables(self.network).items()}
        found = {name: tuple(table.shape) for name, table in self.ensemble.members[0].tensors.items()}
        if found != wanted:
            raise ValueError(f"The members' tables are {found}, those of {type(self.network).__name__} are {wanted}: load their model.")
        if int(self.labels.min()) < 0 or int(self.labels.max()) >= self.classes:
            raise ValueError(f"labels must lie between 0 and {self.classes - 1}, got {self.labels.tolist()}.")

    @property
    def names(self) -> list[str]:
        return self.ensemble.distinct

    @property
    def classes(self) -> int:
        return len(next(iter(tables(self.network).values())))

    @contextmanager
    def entered(self, members: Sequence[int], batch: int, guided: bool) -> Iterator[Cond]:
        if guided and self.no_class is None:
            raise ValueError("Guidance needs no_class, the label that stands for no class; or draw with a guidance_scale of 1.")
        labels = [self.labels] if not guided else [torch.full_like(self.labels, self.no_class), self.labels]
        rows = torch.cat([kind + i * self.classes for kind in labels for i in range(len(members))])
        with lent(self.network, stacked([self.ensemble.members[k].tensors for k in members], tables(self.network))):
            yield {"class_labels": rows}


@dataclass(frozen=True, eq=False)
class ConditionMembers:
    """Conditions of their own: the network's other inputs by name, one row, or one for each image. empty: that of no condition."""

    names: Sequence[str]
    conds: Sequence[Cond]
    empty: Cond | None = None
    together = True

    def __post_init__(self) -> None:
        shapes = [outline(cond) for cond in self.conds]
        for name, shape in zip(self.names, shapes, strict=True):
            if shape != shapes[0]:
                raise ValueError(f"All members must have conditions of one shape: {self.names[0]!r} has {shapes[0]}, {name!r} has {shape}.")

    @contextmanager
    def entered(self, members: Sequence[int], batch: int, guided: bool) -> Iterator[Cond]:
        yield rows_of([self.conds[k] for k in members], self.empty, batch, guided)


def rows_of(conds: Sequence[Cond], empty: Cond | None, batch: int, guided: bool) -> Cond:
    """The inputs for the rows (conds, batch), under guidance as many without the condition before them."""
    if guided and empty is None:
        raise ValueError("Guidance needs the condition that stands for none; or draw with a guidance_scale of 1.")
    kinds = [*([empty] * len(conds) if guided else []), *conds]
    return joined([expanded(cond, batch) for cond in kinds])


def expanded(cond: Any, batch: int) -> Any:
    """One row as ``batch`` of them, in nested inputs. Raises ValueError for another number of rows."""
    if isinstance(cond, Mapping):
        return {name: expanded(value, batch) for name, value in cond.items()}
    if not isinstance(cond, Tensor):
        return cond
    if len(cond) not in (1, batch):
        raise ValueError(f"A condition must have one row, or one for each of {batch} images, got {len(cond)}.")
    return cond.expand(batch, *cond.shape[1:])


def joined(conds: Sequence[Any]) -> Any:
    """Nested inputs, one after the other along the batch."""
    first = conds[0]
    if isinstance(first, Mapping):
        return {name: joined([cond[name] for cond in conds]) for name in first}
    return torch.cat(list(conds)) if isinstance(first, Tensor) else first


def outline(cond: Any) -> Any:
    """Names and shapes without the batch."""
    if isinstance(cond, Mapping):
        return {name: outline(value) for name, value in cond.items()}
    return tuple(cond.shape[1:]) if isinstance(cond, Tensor) else type(cond).__name__


@dataclass(frozen=True, eq=False)
class LoraMembers:
    """LoRAs on a pipeline's network, one after another. conds as in ``ConditionMembers``, shared by all.

    Raises ValueError for members of another network.
    """

    pipe: DiffusionPipeline
    ensemble: EnsembleParameters
    cond: Cond
    empty: Cond | None = None
    together = False

    def __post_init__(self) -> None:
        check_kind(self.ensemble, EnsembleKind.LORA)
        self.ensemble.check(self.pipe.unet if hasattr(self.pipe, "unet") else self.pipe.transformer)

    @property
    def names(self) -> list[str]:
        return self.ensemble.distinct

    @contextmanager
    def entered(self, members: Sequence[int], batch: int, guided: bool) -> Iterator[Cond]:
        with worn(self.pipe, self.ensemble.members[members[0]].tensors):
            yield rows_of([self.cond], self.empty, batch, guided)


def word_members(
    model: PipelineModel, pipe: DiffusionPipeline, ensemble: EnsembleParameters, prompt: str, latents: Tensor
) -> ConditionMembers:
    """Embeddings of one word, said in a prompt as ``*``. Raises ValueError for another kind, another network, or a prompt without it."""
    check_kind(ensemble, EnsembleKind.EMBEDDING)
    ensemble.check(model.network)
    if STAR not in prompt:
        raise ValueError(f"The prompt must say {STAR} where the trained word belongs, got {prompt!r}.")
    word, conds = Word.of(pipe, [prompt], len(next(iter(ensemble.members[0].tensors.values())))), []
    for member in ensemble.members:
        if missing := {e.name for e in word.encoders} - member.tensors.keys():
            raise ValueError(f"Member {member.name!r} has no vectors for {', '.join(sorted(missing))}: it is for another pipeline.")
        with torch.no_grad(), word.spoken(member.tensors):
            cond, empty = word.encode([prompt])
        conds.append(model.inputs(cond, latents))
    return ConditionMembers(ensemble.distinct, conds, model.inputs(empty, latents))


def check_kind(ensemble: EnsembleParameters, kind: EnsembleKind) -> None:
    if ensemble.kind is not kind:
        raise ValueError(f"This ensemble is of the kind {ensemble.kind.value}, asked for is {kind.value}.")
