"""ComfyUI host: the members of a trained ensemble on a model, and the files that they are kept in."""

from __future__ import annotations

from pathlib import Path

import comfy.model_management
import folder_paths
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....core.demo.network import read_ensemble
from ....core.ensemble.file import EnsembleParameters as Trained
from ....core.ensemble.file import MemberParameters as TrainedMember
from ....core.options import EnsembleKind
from .. import files as files
from .lora import apply_lora
from .members import Member, ModelEnsemble
from .train import class_table

KIND = "ensemble"
DEMO = "demo (bundled)"
HOST = "comfyui"


def on_model(trained: Trained, model: ModelPatcher) -> ModelEnsemble:
    """Members that can be sampled. Raises ValueError, in a sentence, for an ensemble of another model, or of words."""
    if trained.kind is EnsembleKind.EMBEDDING:
        raise ValueError(
            "This ensemble holds embeddings of a word, which only a text encoder can read: export its members to the folder embeddings, "
            "and name them in Ensemble LoRA / Embedding."
        )
    # the names of layers, and so a network's identity, are the host's own; a LoRA's keys are checked by themselves
    if trained.kind is not EnsembleKind.LORA or trained.provenance.get("host") == HOST:
        comfy.model_management.load_models_gpu([model])  # else the patches of an earlier run may still be on its weights
        trained.check(model.model.diffusion_model)
    make = lora if trained.kind is EnsembleKind.LORA else learned
    return ModelEnsemble(tuple(make(member, model, trained.kind) for member in trained.members), trained)


def lora(member: TrainedMember, model: ModelPatcher, kind: EnsembleKind) -> Member:
    patched, _ = apply_lora(f"The LoRA of {member.name!r}", member.tensors, model, None, 1.0)
    return Member(member.name, patched)


def learned(member: TrainedMember, model: ModelPatcher, kind: EnsembleKind) -> Member:
    return Member(
        member.name, model, learned=tuple(class_pairs(member, model) if kind is EnsembleKind.CLASS_EMBEDDING else text_pairs(member))
    )


def class_pairs(member: TrainedMember, model: ModelPatcher) -> list[tuple[Tensor, Tensor]]:
    table, (trained,) = class_table(model.model.diffusion_model), member.tensors.values()
    if table is None or table.shape != trained.shape:
        seen = "no table of classes" if table is None else f"one of shape {tuple(table.shape)}"
        raise ValueError(
            f"This ensemble holds tables of classes of shape {tuple(trained.shape)}, but model has {seen}: use Load Demo Model."
        )
    return [(table[i : i + 1], trained[i : i + 1]) for i in range(len(table))]


def text_pairs(member: TrainedMember) -> list[tuple[Tensor, Tensor]]:
    count = sum(name.startswith("own.") for name in member.tensors)
    return [(member.tensors[f"base.{i}"], member.tensors[f"own.{i}"]) for i in range(count)]


def save(trained: Trained, name: str, export: bool) -> list[Path]:
    """The ensemble's file, and with export each LoRA as a file that Load LoRA lists. Raises ValueError for kinds without such files."""
    path = files.target(KIND, name)
    exported = trained.export(Path(folder_paths.get_output_directory()) / "loras", name) if export else []
    trained.save(path)
    return [path, *exported]


def names() -> list[str]:
    return [DEMO, *files.names(KIND)]


def load(name: str) -> Trained:
    """Raises FileNotFoundError, naming where it was looked for, or ValueError for a name or a file that is none."""
    return read_ensemble() if name == DEMO else Trained.load(files.find(KIND, name))


def check(name: str) -> None:
    """Raises FileNotFoundError or ValueError where there is no ensemble of that name."""
    if name != DEMO:
        files.find(KIND, name)
