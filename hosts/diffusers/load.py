"""diffusers host: saved text-to-image pipelines, read from a folder; nothing is downloaded and no pickled weights are read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

SD, SDXL, SD3 = "StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline"
# model.safetensors, model.fp16.safetensors, model.fp16-00001-of-00002.safetensors, model-00001-of-00002.fp16.safetensors
WEIGHTS = re.compile(r"(?:diffusion_pytorch_)?model(?:\.(\w+))?(?:-\d{5}-of-\d{5})?(?:\.(\w+))?\.safetensors")


def load_pipeline(path: str | Path, device: str = "cpu", dtype: torch.dtype | None = None) -> DiffusionPipeline:
    """A pipeline that ``save_pretrained`` wrote to a folder, also with ``variant="fp16"``.

    dtype: half precision on CUDA and float32 elsewhere when left out.
    Raises ValueError for another kind of pipeline, by name, OSError for a broken folder.
    """
    kind = pipeline_kind(path)
    dtype = dtype or (torch.float16 if torch.device(device).type == "cuda" else torch.float32)
    # a part that was left out when saving (the third text encoder of SD3) has to be named
    without: dict[str, Any] = {name: None for name, part in saved_config(path).items() if part == [None, None]}
    without |= {"safety_checker": None, "requires_safety_checker": False} if kind == SD else {}
    parts = [folder for folder in Path(path).iterdir() if folder.is_dir() and without.get(folder.name, folder) is not None]
    named = {"local_files_only": True, "use_safetensors": True, "torch_dtype": dtype, "variant": variant_of(parts)}
    try:
        pipe = DiffusionPipeline.from_pretrained(path, **named, **without)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"The pipeline in {str(path)!r} can't be loaded ({reason}); save it again with save_pretrained().") from error
    return pipe.to(device)


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


def pipeline_kind(path: str | Path) -> str:
    """The class name of the pipeline in a folder. Raises ValueError for one that is not understood, OSError where there is none."""
    if not (Path(path) / "model_index.json").is_file():
        raise FileNotFoundError(f"There is no diffusers pipeline in {str(path)!r}; give a folder that holds a model_index.json, or demo.")
    kind = saved_config(path).get("_class_name")
    if kind not in (SD, SDXL, SD3):
        raise ValueError(f"{str(path)!r} holds a {kind}, which is not supported; supported are {SD}, {SDXL} and {SD3}.")
    return kind


@contextmanager
def loading_bars(shown: bool) -> Iterator[None]:
    """Whether diffusers and transformers draw their bars while they load inside the block; afterwards they are as they were."""
    hidden = [] if shown else [host for host in (diffusers_logging, transformers_logging) if host.is_progress_bar_enabled()]
    for host in hidden:
        host.disable_progress_bar()
    try:
        yield
    finally:
        for host in hidden:
            host.enable_progress_bar()
