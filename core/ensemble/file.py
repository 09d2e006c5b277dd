"""An ensemble on disk: what each member has of its own, which model it belongs to, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..files import load_tensors, replacing, save_tensors
from ..last_layer.find import Identity
from ..options import EnsembleKind, check_choice
from ..values import check_list, check_number, check_tensor, check_text, check_texts, intact

KIND = "ensemble"
VERSION = 1


@dataclass(frozen=True, eq=False)
class MemberParameters:
    """What one member has of its own.

    tensors: by the names that an ordinary file of that kind has.
        Class-embedding tables: (classes, D) by the parameter, such as ``class_embedding.weight``.
        Textual inversion: one (tokens, D) for each text encoder, such as ``clip_l`` and ``clip_g``.
        A LoRA: as its file has them, ``lora_unet_....lora_down.weight`` (kohya) or ``transformer....lora_A.weight`` (diffusers).
        Prompts: for each ``base.0`` (tokens, D), as the text encoder has it, and ``own.0``, as the member reads it, and so on.
    losses: one a training step.
    """

    name: str
    tensors: Mapping[str, Tensor]
    losses: tuple[float, ...] = ()

    def equals(self, other: MemberParameters) -> bool:
        """Whether both would change the model alike, whatever their names."""
        same = self.tensors.keys() == other.tensors.keys()
        return same and all(torch.equal(tensor, other.tensors[name]) for name, tensor in self.tensors.items())


@dataclass(frozen=True, eq=False)
class EnsembleParameters:
    """K members of one model. identity: of the network that they were trained on; None where that isn't known.

    Raises ValueError, in a sentence, for no member, names that repeat, members of different shapes, or NaN in them.
    """

    kind: EnsembleKind
    members: tuple[MemberParameters, ...]
    identity: Identity | None = None
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, EnsembleKind)
        if not self.members:
            raise ValueError("The ensemble is empty: give at least one member, two to compare them.")
        first = shapes(self.members[0])
        for k, member in enumerate(self.members):
            if member.name in self.names[:k]:
                raise ValueError(f"Two members have the name {member.name!r}: give each one of its own.")
            # LoRAs of different ranks do not meet in one tensor
            if shapes(member) != first and self.kind is not EnsembleKind.LORA:
                difference = f"{self.members[0].name!r} has {first}, {member.name!r} has {shapes(member)}"
                raise ValueError(f"All members must have tensors of one shape: {difference}.")
            check_text("The name of a member", member.name)
            if not member.tensors or not all(bool(t.float().isfinite().all()) for t in member.tensors.values()):
                raise ValueError(f"Member {member.name!r} is empty, or holds NaN or infinite values: leave it out, or train it again.")

    def __len__(self) -> int:
        return len(self.members)

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.members]

    @property
    def distinct(self) -> list[str]:
        """For each member the name of the first that equals it, so that equal ones run once (see ``core.ensemble.estimate``)."""
        return [next(other.name for other in self.members if other.equals(member)) for member in self.members]

    def check(self, network: nn.Module) -> None:
        """Raises ValueError, in a sentence, when the members belong to another network, as far as that is known."""
        if self.identity is not None:
            self.identity.check(network, "ensemble")

    def save(self, path: str | Path) -> None:
        """Write as one safetensors file; raises OSError when the file cannot be written."""
        tensors = {f"{k}.{name}": tensor for k, member in enumerate(self.members) for name, tensor in member.tensors.items()}
        metadata = {
            "kind": self.kind.value,
            "members": [{"name": member.name, "losses": list(member.losses)} for member in self.members],
            "identity": self.identity and asdict(self.identity),
            "provenance": self.provenance,
        }
        save_tensors(path, tensors, KIND, VERSION, metadata)

    @classmethod
    def load(cls, path: str | Path) -> EnsembleParameters:
        """Read what ``save`` wrote. Raises FileNotFoundError, or ValueError for a truncated, foreign or damaged file."""
        tensors, m = load_tensors(path, KIND, VERSION)
        with intact(path, KIND):
            heads = check_list("members", m["members"])
            parts = split_members(tensors, len(heads), ".")
            members = tuple(MemberParameters(h["name"], part, check_losses(h["losses"])) for h, part in zip(heads, parts, strict=True))
            identity = None if m["identity"] is None else Identity(**m["identity"])
            return cls(EnsembleKind(m["kind"]), members, identity, check_texts("provenance", m["provenance"]))

    def export(self, folder: str | Path, stem: str) -> list[Path]:
        """Each member as an ordinary embedding or LoRA file, ``STEM_1.safetensors`` and so on, that stock loaders read.

        Raises ValueError for class-embedding tables and prompts, which no stock loader knows, OSError when a file cannot be written.
        """
        if self.kind in (EnsembleKind.CLASS_EMBEDDING, EnsembleKind.CONDITIONING):
            raise ValueError(f"Members of kind {self.kind.value!r} have no file format of their own: keep the ensemble's file instead.")
        paths = [Path(folder) / f"{stem}_{k}.safetensors" for k in range(1, len(self) + 1)]
        for path, member in zip(paths, self.members, strict=True):
            with replacing(path) as temporary:
                tensors = {name: t.detach().cpu().clone().contiguous() for name, t in member.tensors.items()}
                temporary.write_bytes(save(tensors, {"format": "pt"}))
        return paths


def shapes(member: MemberParameters) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in member.tensors.items()}


def split_members(tensors: Mapping[str, Tensor], count: int, separator: str) -> list[dict[str, Tensor]]:
    """``{"0.name": tensor, ...}`` as one dict for each of ``count`` members. Raises ValueError for a name without its member."""
    parts: list[dict[str, Tensor]] = [{} for _ in range(count)]
    for key, tensor in tensors.items():
        k, _, name = key.partition(separator)
        if not k.isdecimal() or int(k) >= count or not name:
            raise ValueError(f"it has {count} members, and {key!r} belongs to none of them")
        parts[int(k)][name] = check_tensor(key, tensor)
    return parts


def check_losses(losses: Any) -> tuple[float, ...]:
    """One mean squared error a step. Raises ValueError for what is none."""
    return tuple(check_number("Each loss", loss, 0) for loss in check_list("losses", losses))
