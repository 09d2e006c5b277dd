"""Pipelines in the folders that ``save_pretrained`` writes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from ....core.files import reason_of

SD, SDXL, SD3 = "StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline"
# model.safetensors, model.fp16.safetensors, model.fp16-00001-of-00002.safetensors, model-00001-of-00002.fp16.safetensors
WEIGHTS = re.compile(r"(?:diffusion_pytorch_)?model(?:\.(\w+))?(?:-\d{5}-of-\d{5})?(?:\.(\w+))?\.safetensors")


def load_folder(path: str | Path, dtype: torch.dtype, variant: str | None = None) -> DiffusionPipeline:
    """The pipeline in a folder, on the CPU. variant: of its weights, such as fp16; found when left out.

    Raises ValueError for another kind of pipeline, by name, or a variant that isn't there; OSError for a broken folder.
    """
    kind = folder_kind(path)
    # a part that was left out when saving (the third text encoder of SD3) has to be named
    without: dict[str, Any] = {name: None for name, part in saved_config(path).items() if part == [None, None]}
    without |= unchecked(kind)
    parts = [folder for folder in Path(path).iterdir() if folder.is_dir() and without.get(folder.name, folder) is not None]
    if variant is not None and variant not in (known := variants_of(parts)):
        raise ValueError(f"{str(path)!r} has no weights of the variant {variant!r}; it has {', '.join(known) or 'only plain ones'}.")
    named = {"local_files_only": True, "use_safetensors": True, "torch_dtype": dtype, "variant": variant or variant_of(parts)}
    try:
        return DiffusionPipeline.from_pretrained(path, **named, **without)
    except (OSError, ValueError, TypeError) as error:
        raise OSError(
            f"The pipeline in {str(path)!r} can't be loaded ({reason_of(error)}); save it again with save_pretrained()."
        ) from error


def unchecked(kind: str) -> dict[str, Any]:
    """SD's filter would turn images black that are to be scored as they are."""
    return {"safety_checker": None, "requires_safety_checker": False} if kind == SD else {}


def variants_of(folders: Iterable[Path]) -> list[str]:
    matches = [match for folder in folders for file in folder.iterdir() if (match := WEIGHTS.fullmatch(file.name))]
    return sorted({variant for match in matches if (variant := match[1] or match[2])})


def variant_of(folders: Iterable[Path]) -> str | None:
    """The variant whose weights to load, by file name: None where every folder has plain ones, else what those without have most of."""
    counts: dict[str, int] = {}
    for folder in folders:
        matches = [match for file in folder.iterdir() if (match := WEIGHTS.fullmatch(file.name))]
        variants = {match[1] or match[2] for match in matches}
        for variant in variants if None not in variants else ():
            counts[variant] = counts.get(variant, 0) + 1
    return max(counts, key=lambda name: (counts[name], name == "fp16", name), default=None)


def saved_config(path: str | Path) -> dict[str, Any]:
    return DiffusionPipeline.load_config(path, local_files_only=True)


def folder_kind(path: str | Path) -> str:
    """The class name of the pipeline in a folder. Raises ValueError for one that is not understood, OSError where there is none."""
    if not (Path(path) / "model_index.json").is_file():
        raise FileNotFoundError(
            f"There is no diffusers pipeline in {str(path)!r}; give a folder that holds a model_index.json, a .safetensors file of a "
            "whole model, or demo."
        )
    kind = saved_config(path).get("_class_name")
    if kind not in (SD, SDXL, SD3):
        raise ValueError(f"{str(path)!r} holds a {kind}, which is not supported; supported are {SD}, {SDXL} and {SD3}.")
    return kind
