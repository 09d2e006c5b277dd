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
from ..images import PipelineModel, encode_prompts
from ..information import Cond
from ..watch import network_of
from .lora import lora_applied
from .tables import parameters_replaced, stack_tables, tables
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
        shapes = {name: tuple(table.shape) for name, table in self.ensemble.members[0].tensors.items()}
        if shapes != wanted:
            raise ValueError(f"The members' tables are {shapes}, those of {type(self.network).__name__} are {wanted}: load their model.")
        if int(self.labels.min()) < 0 or int(self.labels.max()) >= self.classes:
            raise ValueError(f"labels must lie between 0 and {self.classes - 1}, got {self.labels.tolist()}.")

    @property
    def names(self) -> list[str]:
        return self.ensemble.distinct

    @property
    def classes(self) -> int:
        return len(next(iter(tables(self.network).values())))

    @contextmanager
    def activate(self, members: Sequence[int], batch: int, guided: bool) -> Iterator[Cond]:
        labels = [self.labels]
        if guided:
            if self.no_class is None:
                raise ValueError("Guidance needs no_class, the label that stands for no class; or draw with a guidance_scale of 1.")
            labels = [torch.full_like(self.labels, self.no_class), self.labels]
        rows = torch.cat([kind + i * self.classes for kind in labels for i in range(len(members))])
        with parameters_replaced(self.network, stack_tables([self.ensemble.members[k].tensors for k in members], tables(self.network))):
            yield {"class_labels": rows}


@dataclass(frozen=True, eq=False)
class ConditionMembers:
    """Conditions of their own: the network's other inputs by name, one row, or one for each image. empty: that of no condition."""

    names: Sequence[str]
    conds: Sequence[Cond]
    empty: Cond | None = None
    together = True

    def __post_init__(self) -> None:
        shapes = [shapes_of(cond) for cond in self.conds]
        for name, shape in zip(self.names, shapes, strict=True):
            if shape != shapes[0]:
                raise ValueError(f"All members must have conditions of one shape: {self.names[0]!r} has {shapes[0]}, {name!r} has {shape}.")

    @contextmanager
    def activate(self, members: Sequence[int], batch: int, guided: bool) -> Iterator[Cond]:
        yield batch_conditions([self.conds[k] for k in members], self.empty, batch, guided)


def batch_conditions(conds: Sequence[Cond], empty: Cond | None, batch: int, guided: bool) -> Cond:
    """The inputs for the rows (conds, batch), under guidance as many without the condition before them."""
    if guided and empty is None:
        raise ValueError("Guidance needs the condition that stands for none; or draw with a guidance_scale of 1.")
    kinds = [*([empty] * len(conds) if guided else []), *conds]
    return join_conditions([expand_rows(cond, batch) for cond in kinds])


def expand_rows(cond: Any, batch: int) -> Any:
    """One row as ``batch`` of them, in nested inputs. Raises ValueError for another number of rows."""
    if isinstance(cond, Mapping):
        return {name: expand_rows(value, batch) for name, value in cond.items()}
    if not isinstance(cond, Tensor):
        return cond
    if len(cond) not in (1, batch):
        raise ValueError(f"A condition must have one row, or one for each of {batch} images, got {len(cond)}.")
    return cond.expand(batch, *cond.shape[1:])


def join_conditions(conds: Sequence[Any]) -> Any:
    """Nested inputs, one after the other along the batch."""
    first = conds[0]
    if isinstance(first, Mapping):
        return {name: join_conditions([cond[name] for cond in conds]) for name in first}
    return torch.cat(list(conds)) if isinstance(first, Tensor) else first


def shapes_of(cond: Any) -> Any:
    """Names and shapes without the batch."""
    if isinstance(cond, Mapping):
        return {name: shapes_of(value) for name, value in cond.items()}
    return tuple(cond.shape[1:]) if isinstance(cond, Tensor) else type(cond).__name__


@dataclass(frozen=True, eq=False)
class LoraMembers:
    """LoRAs on a pipeline, one after another. cond, empty: as in ``ConditionMembers``, shared by all.

    prompt, negative: what cond and empty were made of; needed for LoRAs that act on a text encoder, under which both are encoded anew.
    Raises ValueError for members of another network.
    """

    pipe: DiffusionPipeline
    ensemble: EnsembleParameters
    cond: Cond
    empty: Cond | None = None
    prompt: str | list[str] | None = None
    negative: str = ""
    together = False

    def __post_init__(self) -> None:
        check_kind(self.ensemble, EnsembleKind.LORA)
        self.ensemble.check(network_of(self.pipe))

    @property
    def names(self) -> list[str]:
        return self.ensemble.distinct

    @contextmanager
    def activate(self, members: Sequence[int], batch: int, guided: bool) -> Iterator[Cond]:
        with lora_applied(self.pipe, self.ensemble.members[members[0]].tensors) as on_text:
            cond, empty = self._encoded() if on_text else (self.cond, self.empty)
            yield batch_conditions([cond], empty, batch, guided)

    def _encoded(self) -> tuple[Cond, Cond | None]:
        if self.prompt is None:
            raise ValueError("This LoRA acts on the text encoder: pass the prompt, so that it can be encoded with the LoRA.")
        with torch.no_grad():
            cond, empty = encode_prompts(self.pipe, self.prompt, self.negative)
        return with_inputs(self.cond, cond), None if self.empty is None else with_inputs(self.empty, empty)


def with_inputs(cond: Any, new: Cond) -> Any:
    """Nested inputs with those of ``new`` in the place of the ones of the same name."""
    return {name: with_inputs(value, new) if isinstance(value, Mapping) else new.get(name, value) for name, value in cond.items()}


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
        with torch.no_grad(), word.vectors_inserted(member.tensors):
            cond, empty = word.encode([prompt])
        conds.append(model.inputs(cond, latents))
    return ConditionMembers(ensemble.distinct, conds, model.inputs(empty, latents))


def check_kind(ensemble: EnsembleParameters, kind: EnsembleKind) -> None:
    if ensemble.kind is not kind:
        raise ValueError(f"This ensemble is of the kind {ensemble.kind.value}, asked for is {kind.value}.")
