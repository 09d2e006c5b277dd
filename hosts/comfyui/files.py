"""Where artefacts lie in ComfyUI: nodes write to output/uncertainty/KIND; files that people bring may lie in models/uncertainty/KIND too.

A folder named ``uncertainty`` in extra_model_paths.yaml is searched as well.
"""

from __future__ import annotations

import re
from pathlib import Path

import comfy.model_management as mm
import folder_paths

from ...core.selection.calibration import Calibration
from ...core.selection.collecting import add, update

FOLDER, SUFFIX = "uncertainty", ".safetensors"
NAME = re.compile(r"\w[\w .-]{0,99}")


def target(kind: str, name: str) -> Path:
    """The file to write. Raises ValueError for a name that could lead out of the folder."""
    if not NAME.fullmatch(name):
        raise ValueError(f"name must be letters, digits, spaces, '.', '-' and '_', and no folder, got {name!r}.")
    return Path(folder_paths.get_output_directory()) / FOLDER / kind / f"{name}{SUFFIX}"


def find(kind: str, name: str) -> Path:
    """The file to read. Raises FileNotFoundError, naming where it was looked for."""
    target(kind, name)
    for folder in _folders(kind):
        if (path := folder / f"{name}{SUFFIX}").is_file():
            return path
    raise FileNotFoundError(f"There is no {kind} named {name!r} in {', '.join(map(str, _folders(kind)))}; save one under that name first.")


def collect_scores(path: Path, further: Calibration, most: int) -> tuple[Calibration, int]:
    """``collect``, which a cancel ends while it waits for another ComfyUI that writes the file; and how many images are in it already."""
    again: list[int] = []

    def change(history: Calibration | None) -> Calibration:
        again.append(0 if history is None else int(history.holds(further).sum()))
        return add(history, further, most)

    return update(path, change, mm.throw_exception_if_processing_interrupted), again[0]


def names(kind: str) -> list[str]:
    """What can be read, in alphabetical order."""
    return sorted({path.name.removesuffix(SUFFIX) for folder in _folders(kind) for path in folder.glob(f"[!.]*{SUFFIX}")})


def stamp(kind: str, name: str) -> str:
    """Changes when the file does. Empty when there is none."""
    try:
        status = find(kind, name).stat()
    except (FileNotFoundError, ValueError):
        return ""
    return f"{status.st_mtime_ns} {status.st_size}"


def _folders(kind: str) -> list[Path]:
    extra = folder_paths.get_folder_paths(FOLDER) if FOLDER in folder_paths.folder_names_and_paths else []
    bases = [Path(folder_paths.get_output_directory()) / FOLDER, Path(folder_paths.models_dir) / FOLDER, *map(Path, extra)]
    return [base / kind for base in bases]
