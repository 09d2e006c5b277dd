"""What tests read back: latents bit for bit, values, the random state, the state of a model."""

from __future__ import annotations

import hashlib
import json
import os
import random

import folder_paths
import numpy
import torch
from safetensors.torch import save_file


class Any(str):
    """A socket type that accepts every link."""

    def __ne__(self, other: object) -> bool:
        return False


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


class Reader:
    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "uncertainty/test", "read", (), True


class SaveLatent(Reader):
    """Every tensor of a LATENT, and batch_index as a tensor, in output/<name>.safetensors."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"latent": ("LATENT",), "name": ("STRING", {"default": "latent"})}}

    def read(self, latent, name):
        tensors = {k: torch.tensor(v) if k == "batch_index" else v for k, v in latent.items() if k == "batch_index" or torch.is_tensor(v)}
        path = os.path.join(folder_paths.get_output_directory(), f"{name}.safetensors")
        save_file({k: v.cpu().contiguous().clone() for k, v in tensors.items()}, path + ".part")
        os.replace(path + ".part", path)
        return {"ui": {"latents": [{"filename": f"{name}.safetensors", "subfolder": "", "type": "output"}]}}


class SaveLatents(SaveLatent):
    """The samples of a list of LATENTs, one batch behind the other."""

    INPUT_IS_LIST = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"latents": ("LATENT",)}}

    def read(self, latents):
        return super().read({"samples": torch.cat([latent["samples"] for latent in latents])}, f"latents_{id(latents)}")


def plain(value):
    """JSON for numbers, strings and booleans; a tensor becomes its shape and digest; anything else its type's name."""
    if torch.is_tensor(value):
        value = value.detach().cpu().contiguous()
        return {"shape": list(value.shape), "dtype": str(value.dtype), "digest": digest(value.view(torch.uint8).numpy().tobytes())}
    return value if isinstance(value, (int, float, str, bool, type(None))) else type(value).__name__


class SaveValue(Reader):
    """Whatever arrives, as JSON in the history: always a list, one entry per item of a list socket."""

    INPUT_IS_LIST = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": (Any("*"),)}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True

    def read(self, value):
        return {"ui": {"value": [json.dumps([plain(v) for v in value])]}}


class SaveLosses(Reader):
    """The numbers of a LOSS_MAP."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"losses": ("LOSS_MAP",)}}

    def read(self, losses):
        return {"ui": {"value": [json.dumps(losses["loss"])]}}


class RandomState(Reader):
    """Digests of the global random states when ``after`` is ready."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"after": (Any("*"),)}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True

    @classmethod
    def IS_CHANGED(cls, **_):
        return float("nan")

    def read(self, after):
        state = {
            "torch": digest(torch.get_rng_state().numpy().tobytes()),
            "numpy": digest(repr(numpy.random.get_state()).encode()),
            "python": digest(repr(random.getstate()).encode()),
        }
        return {"ui": {"value": [json.dumps([state])]}}


def hooks(module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in module.modules())


class ModelState(Reader):
    """Everything a run could leave behind in a model: flags, hooks, patches, weights and their objects."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "after": (Any("*"),)}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True

    @classmethod
    def IS_CHANGED(cls, **_):
        return float("nan")

    def read(self, model, after):
        weights = list(model.model.named_parameters()) + list(model.model.named_buffers())
        state = {
            "training": sorted(name for name, m in model.model.named_modules() if m.training),
            "hooks": hooks(model.model),
            "requires_grad": sum(w.requires_grad for _, w in weights),
            "inference": sum(w.is_inference() for _, w in weights),
            "objects": digest(*(str(id(w)).encode() for _, w in weights)),
            "storage": digest(*(str(w.data_ptr()).encode() for _, w in weights)),
            "weights": digest(*(w.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() for _, w in weights if w.ndim)),
            "weight_functions": sum(len(getattr(m, "weight_function", ())) for m in model.model.modules()),
            "cast": sum(getattr(m, "comfy_cast_weights", False) for m in model.model.modules()),
            "patches": len(model.patches),
            "backups": len(model.backup) + len(model.object_patches_backup),
            "options": sorted(map(str, model.model_options)),
            "transformer_options": sorted(map(str, model.model_options["transformer_options"])),
        }
        return {"ui": {"value": [json.dumps([state])]}}


class NoiseSchedule(Reader):
    """The model's sigmas, as a list."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",)}}

    def read(self, model):
        return {"ui": {"value": [json.dumps(model.get_model_object("model_sampling").sigmas.tolist())]}}


NODES = [SaveLatent, SaveLatents, SaveLosses, SaveValue, RandomState, ModelState, NoiseSchedule]
