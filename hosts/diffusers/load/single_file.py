"""Whole models in one .safetensors file, as Stable Diffusion, A1111 and ComfyUI have them.

The file holds weights only. What else a pipeline needs (the layout of its parts, tokenizer, scheduler) comes from a saved pipeline of the
same kind, whose own weights are not read and need not be there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.loaders.single_file_utils import SingleFileComponentError, fetch_diffusers_config
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from ....core.files import reason_of
from .folder import folder_kind, unchecked

SUFFIX = ".safetensors"
PICKLED = (".ckpt", ".pt", ".pth", ".bin")


def is_single_file(path: str | Path) -> bool:
    """Raises ValueError for a pickled checkpoint: reading it could run a stranger's code."""
    path = Path(path)
    if path.suffix.lower() in PICKLED and not path.is_dir():
        raise ValueError(f"{str(path)!r} is a pickled checkpoint, which can run code when it is read; give its {SUFFIX} form.")
    return path.suffix.lower() == SUFFIX and not path.is_dir()


def load_single_file(path: str | Path, dtype: torch.dtype, config: str | Path | None = None) -> DiffusionPipeline:
    """The pipeline, on the CPU. config: folder of a saved pipeline of the same kind; searched for when left out, see ``find_config``.

    Raises what ``find_config`` and ``folder_kind`` raise; OSError for a file that is broken or of another kind than config.
    """
    folder = find_config(path, config)
    kind = folder_kind(folder)
    named: dict[str, Any] = {"config": str(folder), "local_files_only": True, "torch_dtype": dtype, **unchecked(kind)}
    named.pop("requires_safety_checker", None)
    try:
        return getattr(diffusers, kind).from_single_file(str(path), **named)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError, SingleFileComponentError) as error:
        raise OSError(
            f"{str(path)!r} can't be loaded as the {kind} that {str(folder)!r} describes ({reason_of(error):.300}); name the folder of a "
            "saved pipeline of the same kind with --config."
        ) from error


def find_config(path: str | Path, config: str | Path | None = None) -> Path:
    """The folder that says how a single file is laid out: ``config``; else one of the file's own name beside it; else the one that
    diffusers has loaded before for such a file.

    Raises FileNotFoundError, in a sentence, where there is no file or none of these; ValueError for a file that is no whole model.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {str(path)!r}; give the path of a {SUFFIX} file, the folder of a saved pipeline, or demo."
        )
    if config is not None:
        return Path(config)
    if (path.with_suffix("") / "model_index.json").is_file():
        return path.with_suffix("")
    likely = likely_pipeline(path)
    try:
        return Path(snapshot_download(likely, local_files_only=True, allow_patterns=["*.json", "*.txt"]))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{str(path)!r} holds weights only, and how they are laid out can't be found on this machine (it looks like {likely}). Name "
            "the folder of a saved pipeline of the same kind with --config; its weights are not needed, only its model_index.json and the "
            "small files in its sub-folders."
        ) from error


def likely_pipeline(path: Path) -> str:
    """The name of the pipeline that diffusers would take the layout from, by the names and shapes of the weights alone."""
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is not a whole safetensors file ({reason_of(error)}); copy it again.") from error
    if not any(name.startswith(("model.diffusion_model.", "first_stage_model.")) for name in shapes):
        raise ValueError(
            f"{str(path)!r} is no checkpoint of a whole model: it holds {len(shapes)} tensors such as {next(iter(shapes), 'none')!r}. A "
            "LoRA goes to --lora, an embedding to --textual-inversion."
        )
    return fetch_diffusers_config(shapes)["pretrained_model_name_or_path"]
