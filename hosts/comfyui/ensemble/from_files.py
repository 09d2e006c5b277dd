"""ComfyUI host: LoRA and embedding files of the user's as members of an ensemble."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import comfy.sd
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter import WeightAdapterBase

from ..ksampler import Conditioning
from .members import Member, alike

FOLDERS = ("loras", "embeddings")
PLACE = "embedding:*"  # in a prompt: where each member's embedding goes


@dataclass(frozen=True)
class Named:
    """One entry of the list of members: a file, and how strong it is."""

    folder: str
    file: str
    strength: float

    @property
    def name(self) -> str:
        return f"{self.file}:{self.strength:g}"


def parse(text: str, strength: float) -> list[Named]:
    """Names by line or comma: files of loras or embeddings, with or without their ending, and ``:0.8`` behind for a strength of its own.

    Raises ValueError for a name that no file has, or several.
    """
    entries = [entry.strip() for entry in re.split(r"[\n,]", text) if entry.strip()]
    return [find(entry, strength) for entry in entries]


def find(entry: str, strength: float) -> Named:
    name, _, own = entry.rpartition(":")
    if name and re.fullmatch(r"[-+]?\d*\.?\d+", own):
        entry, strength = name, float(own)
    for folder in FOLDERS:
        known = folder_paths.get_filename_list(folder)
        found = [file for file in known if entry == file] or [file for file in known if entry in spellings(file)]
        if len(found) > 1:
            raise ValueError(f"members names {entry!r}, which may be any of {', '.join(found)}; write one of them in full.")
        if found:
            return Named(folder, found[0], strength)
    known = [file for folder in FOLDERS for file in folder_paths.get_filename_list(folder)]
    there = f"there are {', '.join(known[:8])}{' and more' if len(known) > 8 else ''}" if known else "both folders are empty"
    raise ValueError(f"members names {entry!r}, but no file in the folders loras and embeddings is called so; {there}.")


def spellings(file: str) -> set[str]:
    path = PurePath(file.replace("\\", "/"))
    return {str(path), str(path.with_suffix("")), path.name, path.stem}


def members_of(names: Sequence[Named], model: ModelPatcher, clip: Any, prompt: str) -> list[Member]:
    """Each file as a member. LoRAs change the model, and the text encoder where clip and prompt are given; embeddings the prompt alone.

    Raises ValueError, in a sentence, for a file that doesn't fit the model or the text encoder, and for an embedding without them.
    """
    made: dict[str, Member] = {}
    for named in names:
        if named.name not in made:
            make = lora_member if named.folder == "loras" else embedding_member
            made[named.name] = make(named, model, clip, prompt)
    return [made[named.name] for named in names]


def lora_member(named: Named, model: ModelPatcher, clip: Any, prompt: str) -> Member:
    path = folder_paths.get_full_path_or_raise(named.folder, named.file)
    lora = comfy.utils.load_torch_file(path, safe_load=True)
    encoder = clip if prompt.strip() else None
    patched, patched_clip = comfy.sd.load_lora_for_models(model, encoder, lora, named.strength, named.strength)
    check_lora(named.file, model, patched)
    if len(patches(patched)) == len(patches(model)) and (encoder is None or len(patches(patched_clip)) == len(patches(encoder))):
        raise ValueError(f"LoRA {named.file!r} has no weight that this model knows: it was made for another kind of model.")
    return Member(named.name, patched, encode(patched_clip, prompt) if encoder is not None else None)


def patches(patched: Any) -> list[tuple[str, Any]]:
    """Of a model or a text encoder, all that is put on its weights."""
    patcher = getattr(patched, "patcher", patched)
    return [(key, patch) for key, several in patcher.patches.items() for patch in several]


def check_lora(file: str, model: ModelPatcher, patched: ModelPatcher) -> None:
    """Raises ValueError where ComfyUI would only log that a weight does not fit, and leave it out."""
    known = {id(patch) for _, patch in patches(model)}
    for key, patch in patches(patched):
        adapter, offset = patch[1], patch[3]
        if id(patch) in known or offset is not None or getattr(adapter, "name", "") != "lora" or not isinstance(adapter, WeightAdapterBase):
            continue
        up, down = adapter.weights[0], adapter.weights[1]
        wanted = comfy.utils.get_attr(patched.model, key).shape
        if up.shape[0] != wanted[0] or (adapter.weights[3] is None and down.flatten(1).shape[1] != wanted[1:].numel()):
            found = f"{up.shape[0]} x {down.flatten(1).shape[1]}"
            raise ValueError(
                f"LoRA {file!r} is for another model: its weights for {key} make {found}, "
                f"but this model has {wanted[0]} x {wanted[1:].numel()}."
            )


def embedding_member(named: Named, model: ModelPatcher, clip: Any, prompt: str) -> Member:
    name = str(PurePath(named.file.replace("\\", "/")).with_suffix(""))
    if clip is None or not prompt.strip():
        raise ValueError(f"{named.file!r} is an embedding, which needs a text: connect clip and write the prompt that it stands in.")
    if " " in name:
        raise ValueError(f"Embedding {named.file!r} has a space in its name, which no prompt can hold: rename the file.")
    plain, bare = written(prompt, f"embedding:{name}"), written(prompt, "")
    positive = encode(clip, plain)
    if alike(positive, encode(clip, bare)):  # ComfyUI only logs that it leaves it out
        raise ValueError(f"Embedding {named.file!r} changes nothing: it was made for another text encoder than clip.")
    if named.strength != 1:
        positive = encode(clip, written(prompt, f"(embedding:{name}:{named.strength:g})"))
    return Member(named.name, model, positive)


def written(prompt: str, word: str) -> str:
    return prompt.replace(PLACE, word) if PLACE in prompt else f"{prompt}, {word}"


def encode(clip: Any, text: str) -> Conditioning:
    with torch.no_grad():
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))
