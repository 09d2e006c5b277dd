"""ComfyUI host: LoRAs of every kind put on a model and a text encoder, and nothing that ComfyUI would only log and leave out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import comfy.lora
import comfy.sd
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter import WeightAdapterBase
from torch import Tensor

TEXT_ENCODER = ("lora_te", "lora_prior_te", "text_encoder")  # how the keys of a LoRA begin that are not for the model
REAL_VALUES = ("oft", "boft")  # adapters that read values to decide what they do
Patch = tuple[float, Any, float, Any, Any]  # strength, what is put on, strength of the weight, part of the weight, function


def apply_lora(lora_name: str, tensors: Mapping[str, Tensor], model: ModelPatcher, clip: Any, strength: float) -> tuple[ModelPatcher, Any]:
    """Clones of the model and of the text encoder, where there is one, with all of the LoRA on them that is for them.

    lora_name: what errors call it. Raises ValueError, in a sentence, for one that is for another model or text encoder, or not finite.
    """
    patched, patched_clip = comfy.sd.load_lora_for_models(model, clip, dict(tensors), strength, strength)
    on_model, on_clip = new_patches(model, patched), [] if clip is None else new_patches(clip.patcher, patched_clip.patcher)
    check_loaded(lora_name, tensors, bool(on_model), None if clip is None else bool(on_clip))
    check_patches(lora_name, "model", patched, on_model)
    if clip is not None:
        check_patches(lora_name, "text encoder", patched_clip.patcher, on_clip)
    return patched, patched_clip


def new_patches(before: ModelPatcher, after: ModelPatcher) -> list[tuple[str, Patch]]:
    """What is on the weights of ``after`` alone."""
    known = {id(patch) for patches in before.patches.values() for patch in patches}
    return [(key, patch) for key, patches in after.patches.items() for patch in patches if id(patch) not in known]


def check_loaded(lora_name: str, keys: Mapping[str, Any], on_model: bool, on_clip: bool | None) -> None:
    """on_clip: None where there is no text encoder. Raises ValueError where a LoRA's part for the model, or all of it, is left out."""
    for_text = [key.startswith(TEXT_ENCODER) for key in keys]
    if on_model or (all(for_text) and on_clip):
        return
    if for_text and all(for_text):
        if on_clip is None:
            raise ValueError(f"{lora_name} is for the text encoder alone: connect clip, and write the prompt that it shall encode.")
        raise ValueError(f"{lora_name} has no weight that this text encoder knows: it was made for another kind of text encoder.")
    raise ValueError(f"{lora_name} has no weight that this model knows: it was made for another kind of model.")


def check_patches(lora_name: str, target: str, patched: ModelPatcher, patches: list[tuple[str, Patch]]) -> None:
    """Raises ValueError for a value that is not finite, and where ComfyUI would only log that a weight does not fit, and leave it out."""
    for key, (_, patch, _, part, function) in patches:
        if not all(finite(value) for value in values_of(patch)):
            raise ValueError(f"{lora_name} holds NaN or infinite values for {key}: the file is damaged; download or train it again.")
        shape = comfy.utils.get_attr(patched.model, key).shape
        if not changes_weight(key, shape, patch, part, function):
            raise ValueError(
                f"{lora_name} is for another {target}: its weights for {key}, of {' and '.join(shapes_of(patch))}, "
                f"can't be put on the {times(shape)} that this {target} has there."
            )


def changes_weight(key: str, shape: torch.Size, patch: Any, part: Any, function: Any) -> bool:
    """Whether ComfyUI's own computation comes to write to a weight of this shape; it reports errors in its log alone.

    On torch's meta device, which computes shapes and no values.
    """
    real = isinstance(patch, WeightAdapterBase) and patch.name in REAL_VALUES
    with torch.inference_mode(False), torch.no_grad():  # tensors of inference mode don't count what is written to them
        weight = torch.zeros(shape, device="cpu" if real else "meta")
        before = weight._version
        try:
            changed = comfy.lora.calculate_weight([(1.0, patch, 1.0, part, function)], weight, key)
        except (RuntimeError, ValueError, IndexError, TypeError):
            return False
        return changed is not weight or weight._version > before


def values_of(patch: Any) -> Iterator[Tensor | float]:
    if isinstance(patch, WeightAdapterBase):
        patch = patch.weights
    for value in patch:
        if isinstance(value, (tuple, list)):
            yield from values_of(value)
        elif isinstance(value, (Tensor, float)):
            yield value


def finite(value: Tensor | float) -> bool:
    return bool(value.isfinite().all()) if isinstance(value, Tensor) else math.isfinite(value)


def shapes_of(patch: Any) -> list[str]:
    return [times(value.shape) for value in values_of(patch) if isinstance(value, Tensor)]


def times(shape: torch.Size) -> str:
    return " x ".join(map(str, shape)) or "1"
