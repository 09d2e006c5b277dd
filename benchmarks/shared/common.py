"""What every benchmark shares: provenance beside the figures, and results that are written whole."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

from uncertainty_nodes.core.files import load_tensors, replacing, save_tensors

BENCHMARKS = Path(__file__).resolve().parents[1]
RESULTS = Path(os.environ.get("BENCHMARK_RESULTS", BENCHMARKS / "results"))  # another folder keeps the committed figures
MEASURED = "benchmark measurement"
TABLES = {  # results that a script's option makes
    "guidance_cfg": ("guidance", " --cfg"),
    "guidance_search": ("guidance", " --search"),
    "best_of_free": ("best_of", " --free"),
    "pixels_cfg": ("pixels", " --cfg 1.5"),
    "ensemble_cfg": ("ensemble", " --cfg 1.5"),
    "filtering_colour": ("filtering", " --colour"),
    "filtering_colour_cfg": ("filtering", " --colour --cfg 2"),
    "pixels_colour": ("pixels", " --colour --photos FOLDER"),
    "pixels_colour_cfg": ("pixels", " --colour --photos FOLDER --cfg 2"),
    "ensemble_colour": ("ensemble", " --colour"),
    "ensemble_colour_cfg": ("ensemble", " --colour --cfg 2"),
    "paper_colour": ("paper", " --colour --photos FOLDER"),
    "speed_gpu": ("speed", " --device cuda"),
}


class MissingResults(FileNotFoundError):
    """A benchmark that has not been run."""


def read(name: str) -> dict[str, Any]:
    """benchmarks/results/NAME.json. Raises MissingResults where there is none."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        raise MissingResults(f"there is no {path.name}; run {command_of(name)} first.")
    return json.loads(path.read_text(encoding="utf-8"))


def command_of(name: str) -> str:
    """What to type, from the root of the repository, to get benchmarks/results/NAME.json."""
    script, option = TABLES.get(name, (name, ""))
    (path,) = (path for folder in ("quality", "cost") if (path := BENCHMARKS / folder / f"{script}.py").exists())
    return f"python benchmarks/{path.relative_to(BENCHMARKS).as_posix()}{option}"


def kept(path: Path, options: object, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Measured, or read back when it was measured with the same options: what lets a benchmark stop and go on. Tensors on the CPU."""
    wanted = {"options": repr(options)}
    if path.exists():
        tensors, metadata = load_tensors(path, MEASURED)
        if metadata["options"] == wanted["options"]:
            return tensors
    tensors = {name: tensor.cpu() for name, tensor in make().items()}
    save_tensors(path, tensors, MEASURED, 1, wanted | {"drawn_on": provenance()["device"]})
    return tensors


def drawn_on(paths: Iterable[Path]) -> str:
    """The machines on which these were measured."""
    here = provenance()["device"]
    return ", ".join(sorted({load_tensors(path, MEASURED)[1].get("drawn_on", here) for path in paths}))


def provenance() -> dict[str, Any]:
    """Versions, machine and the command; of a path outside the repository only its last name."""
    return {
        "command": " ".join(["python", script(), *map(without_folders, sys.argv[1:])]),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def without_folders(argument: str) -> str:
    """A path, alone or behind ``NAME=``, without the folders of this machine."""
    name, equals, path = argument.rpartition("=")
    return name + equals + (Path(path).name if Path(path).is_absolute() else path)


def script() -> str:
    """The running script as one would type it from the root of the repository; nobody's folders are told."""
    path, root = Path(sys.argv[0]).resolve(), Path(__file__).resolve().parents[2]
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def write(name: str, figures: dict[str, Any]) -> Path:
    """benchmarks/results/NAME.json, with provenance."""
    path = RESULTS / f"{name}.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"provenance": provenance(), **figures}, indent=1) + "\n", encoding="utf-8")
    return path


def clock() -> float:
    """Seconds of work: of this process's processor time, since other programs may run; of the wall on an accelerator, once it is done."""
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()
