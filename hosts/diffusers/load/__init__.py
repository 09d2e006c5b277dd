"""diffusers host: text-to-image pipelines from a folder or a single file; nothing is downloaded and no pickled weights are read."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from .bars import loading_bars
from .folder import SD, SD3, SDXL, folder_kind, load_folder, variant_of
from .setup import Setup
from .single_file import find_config, is_single_file, load_single_file

__all__ = ["SD", "SD3", "SDXL", "Setup", "load_pipeline", "loading_bars", "pipeline_kind", "variant_of"]


def load_pipeline(path: str | Path, device: str = "cpu", dtype: torch.dtype | None = None, setup: Setup | None = None) -> DiffusionPipeline:
    """A pipeline that ``save_pretrained`` wrote to a folder, also with ``variant="fp16"``, or one .safetensors file of the whole model.

    dtype: half precision on CUDA and float32 elsewhere when left out. setup: what is changed about it, and how it is found.
    Raises ValueError for another kind of pipeline, by name, and for a setup that doesn't fit; OSError for what is broken or missing.
    """
    setup = setup or Setup()
    dtype = dtype or (torch.float16 if torch.device(device).type == "cuda" else torch.float32)
    pipe = load_single_file(path, dtype, setup.config) if is_single_file(path) else load_folder(path, dtype, setup.variant)
    return setup.apply(pipe, device)


def pipeline_kind(path: str | Path, setup: Setup | None = None) -> str:
    """The class name of the pipeline, without its weights. Raises as ``load_pipeline`` does for what can be known before loading."""
    setup = setup or Setup()
    setup.check_files()
    if is_single_file(path):
        return folder_kind(find_config(path, setup.config))
    return folder_kind(path)
