"""ComfyUI host: the members of an ensemble, as models and conditionings of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....core.ensemble.file import EnsembleParameters as TrainedEnsemble
from ..sampling.ksampler import Conditioning

ROUNDING = 1e-2


@dataclass(frozen=True, eq=False)
class Member:
    """model: a clone with the member's patches; members without any share one object.

    positive: its own; none = the sampler's.  learned: what it reads in place of texts that it was trained on, each (tokens, D).
    """

    name: str
    model: ModelPatcher
    positive: Conditioning | None = None
    learned: tuple[tuple[Tensor, Tensor], ...] = ()

    def with_conditioning(self, positive: Conditioning | None) -> Member:
        """With a conditioning, its own or what it makes of the sampler's. Raises ValueError when there is none, or none that it knows."""
        positive = self.positive or positive
        if not positive:
            raise ValueError(f"Member {self.name!r} of the ensemble has no conditioning of its own: connect positive.")
        if self.learned:
            positive = [[torch.stack([self.trained_text(row) for row in text]), extras] for text, extras in positive]
        return Member(self.name, self.model, positive)

    def trained_text(self, text: Tensor) -> Tensor:
        for known, trained in self.learned:
            # a text encoder that has been moved says the same with some rounding
            if known.shape == text.shape and (known.to(text) - text).norm() <= ROUNDING * text.norm():
                return trained.to(text)
        raise ValueError(
            f"Member {self.name!r} of the ensemble was trained on other prompts than positive: connect one that it was trained on."
        )


@dataclass(frozen=True, eq=False)
class ModelEnsemble:
    """trained: the tensors that were trained, for saving; none where members are files or conditionings of the user's.

    Raises ValueError, in a sentence, for no member.
    """

    members: tuple[Member, ...]
    trained: TrainedEnsemble | None = None

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("The ensemble is empty: name at least one LoRA or embedding, or connect a conditioning.")

    def __len__(self) -> int:
        return len(self.members)

    def with_conditioning(self, positive: Conditioning | None) -> ModelEnsemble:
        """With a conditioning for each member. Raises ValueError for one that is left without."""
        return ModelEnsemble(tuple(member.with_conditioning(positive) for member in self.members), self.trained)

    @property
    def distinct(self) -> list[str]:
        """For each member the name of the first that is the same: those run once."""
        return [next(other.name for other in self.members if same(other, member)) for member in self.members]


def same(a: Member, b: Member) -> bool:
    return a.model is b.model and alike(a.positive, b.positive)


def alike(a: Any, b: Any) -> bool:
    """Whether two values of a conditioning say the same; what is no plain value is alike when it is one object."""
    if a is b:
        return True
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a.cpu(), b.cpu())
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    return isinstance(a, (str, int, float, bool)) and type(a) is type(b) and a == b


POOLED = "pooled_output"


def joinable(members: Sequence[Member]) -> bool:
    """Whether one batch can hold all: one set of weights, one part each, and nothing but the text that differs."""
    first = members[0]
    return all(m.model is first.model and joinable_conditions(m.positive, first.positive) for m in members[1:])


def joinable_conditions(a: Conditioning | None, b: Conditioning | None) -> bool:
    if a is None or b is None or len(a) != 1 or len(b) != 1:
        return False
    (text, extras), (other_text, other_extras) = a[0], b[0]
    rest, other_rest = ({key: value for key, value in each.items() if key != POOLED} for each in (extras, other_extras))
    return shape(text) == shape(other_text) and shape(extras.get(POOLED)) == shape(other_extras.get(POOLED)) and alike(rest, other_rest)


def shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def join(conditions: Sequence[Conditioning], batch: int) -> Conditioning:
    """One conditioning for a batch of several members' samples, in the order (members, batch)."""
    if len(conditions) == 1:
        return conditions[0]
    extras = dict(conditions[0][0][1])
    if isinstance(extras.get(POOLED), Tensor):
        extras[POOLED] = stack([c[0][1][POOLED] for c in conditions], batch)
    return [[stack([c[0][0] for c in conditions], batch), extras]]


def stack(values: Sequence[Tensor], batch: int) -> Tensor:
    return torch.cat([comfy.utils.repeat_to_batch_size(value, batch) for value in values])
