"""What every benchmark shares: provenance beside the figures, and results that are written whole."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

import diffusers
import torch

from uncertainty_nodes.core.files import replacing

RESULTS = Path(__file__).parent / "results"


def provenance() -> dict[str, Any]:
    """Versions, machine and the exact command."""
    return {
        "command": " ".join(["python", "-m" if sys.argv[0].startswith("-") else "", *sys.argv]).replace("  ", " "),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def write(name: str, figures: dict[str, Any]) -> Path:
    """benchmarks/results/NAME.json, with provenance."""
    path = RESULTS / f"{name}.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"provenance": provenance(), **figures}, indent=1) + "\n", encoding="utf-8")
    return path
