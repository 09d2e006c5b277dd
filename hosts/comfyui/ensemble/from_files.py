"""ComfyUI host: LoRA and embedding files of the user's as members of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..sampling.ksampler import Conditioning
from .lora import apply_lora
from .members import Member, alike
from .names import MemberFile

PLACEHOLDER = "embedding:*"  # in a prompt: where each member's embedding goes


def members_of(files: Sequence[MemberFile], model: ModelPatcher, clip: Any, prompt: str) -> list[Member]:
    """Each file as a member. LoRAs change the model, and the text encoder where clip and prompt are given; embeddings the prompt alone.

    Raises ValueError, in a sentence, for a file that can't be read or doesn't fit the model or the text encoder, and for an
    embedding without them.
    """
    made: dict[str, Member] = {}
    for file in files:
        if file.name not in made:
            make = lora_member if file.folder == "loras" else embedding_member
            made[file.name] = make(file, model, clip, prompt)
    return [made[file.name] for file in files]


def lora_member(file: MemberFile, model: ModelPatcher, clip: Any, prompt: str) -> Member:
    encoder = clip if prompt.strip() else None
    patched, patched_clip = apply_lora(f"LoRA {file.file!r}", read(file), model, encoder, file.strength)
    return Member(file.name, patched, encode(patched_clip, prompt) if encoder is not None else None)


def read(file: MemberFile) -> dict[str, Any]:
    """Raises ValueError naming the file where it is empty, cut off or something else than its ending says."""
    path = folder_paths.get_full_path_or_raise(file.folder, file.file)
    try:
        tensors = comfy.utils.load_torch_file(path, safe_load=True)
    except Exception as error:  # whatever the readers of safetensors and of torch's own files raise
        raise ValueError(f"{file.file!r} can't be read as a file of weights: it is empty or damaged. Download it again.") from error
    if not tensors or not any(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{file.file!r} holds no weights: take it off the members, or download it again.")
    return tensors


def embedding_member(file: MemberFile, model: ModelPatcher, clip: Any, prompt: str) -> Member:
    name = str(PurePath(file.file.replace("\\", "/")).with_suffix(""))
    if clip is None or not prompt.strip():
        raise ValueError(f"{file.file!r} is an embedding, which needs a text: connect clip and write the prompt that it stands in.")
    if " " in name:
        raise ValueError(f"Embedding {file.file!r} has a space in its name, which no prompt can hold: rename the file.")
    word = "embedding:" + name.replace("(", r"\(").replace(")", r"\)")  # bare parentheses are weights
    text, bare = write_in(prompt, word), write_in(prompt, "")
    check_embedding(file, clip, text, bare)
    positive = encode(clip, text)
    if alike(positive, encode(clip, bare)):  # ComfyUI only logs that it leaves it out
        raise ValueError(f"Embedding {file.file!r} changes nothing: it was made for another text encoder than clip.")
    if file.strength != 1:
        positive = encode(clip, write_in(prompt, f"({word}:{file.strength:g})"))
    return Member(file.name, model, positive)


def check_embedding(file: MemberFile, clip: Any, text: str, bare: str) -> None:
    """Raises ValueError where ComfyUI would leave an embedding out of the tokens with a line in its log, or read it as plain letters."""
    known = len(vectors(clip.tokenize(bare)))
    seen = vectors(clip.tokenize(text))
    if len(seen) == known:
        read(file)
        raise ValueError(
            f"Embedding {file.file!r} is not read as an embedding in the prompt: put a space before {PLACEHOLDER}, and use clip "
            "of a model that takes embeddings."
        )
    if not all(vector.isfinite().all() for vector in seen):
        raise ValueError(f"Embedding {file.file!r} holds NaN or infinite values: the file is damaged; download or train it again.")


def vectors(tokens: Any) -> list[Tensor]:
    """Of what a tokenizer makes of a text, all that is no number of a word."""
    if isinstance(tokens, Tensor):
        return [tokens]
    parts = tokens.values() if isinstance(tokens, dict) else tokens if isinstance(tokens, (list, tuple)) else ()
    return [vector for part in parts for vector in vectors(part)]


def write_in(prompt: str, word: str) -> str:
    return prompt.replace(PLACEHOLDER, word) if PLACEHOLDER in prompt else f"{prompt}, {word}"


def encode(clip: Any, text: str) -> Conditioning:
    with torch.no_grad():
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))
