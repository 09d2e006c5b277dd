"""WebUI host: calibration files, in models/uncertainty/calibration, of the same format as ComfyUI's."""

from __future__ import annotations

import re
from pathlib import Path

from modules import paths

from ...core.selection.calibration import Calibration

SUFFIX = ".safetensors"
NAME = re.compile(r"\w[\w .-]{0,99}")


def folder() -> Path:
    return Path(paths.models_path) / "uncertainty" / "calibration"


def names() -> list[str]:
    return sorted(path.name.removesuffix(SUFFIX) for path in folder().glob(f"[!.]*{SUFFIX}"))


def load_calibration(name: str) -> Calibration:
    """Raises ValueError for a name that could lead out of the folder, FileNotFoundError for one that is not there."""
    if not NAME.fullmatch(name):
        raise ValueError(f"calibration must be the name of a file in {folder()}, without a folder, got {name!r}.")
    return Calibration.load(folder() / f"{name.removesuffix(SUFFIX)}{SUFFIX}")
