"""The copies of ComfyUI to test with: as many as COMFYUI_PATH names, each with its Python from COMFYUI_PYTHON."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NEEDED = ("aiohttp", "alembic", "torchsde", "torchvision", "comfyui_frontend_package")
HOW_TO_GET = (
    "git clone https://github.com/comfyanonymous/ComfyUI ~/comfy/ComfyUI (or set COMFYUI_PATH), "
    "install its requirements.txt, and set COMFYUI_PYTHON to that Python"
)


@dataclass(frozen=True)
class Installation:
    """A checkout of ComfyUI and the interpreter that runs it."""

    home: Path
    python: str

    @property
    def version(self) -> str:
        """As the checkout's pyproject.toml tells it, else the folder's name."""
        project = self.home / "pyproject.toml"
        text = project.read_text(encoding="utf-8") if project.is_file() else ""
        version = re.search(r'^version = "(.+)"', text, re.MULTILINE)
        return version[1] if version else self.home.name

    def why_not(self) -> str | None:
        """One line that says what is missing to run it, and how to get it; None when nothing is."""
        if not (self.home / "main.py").is_file():
            return f"no ComfyUI at {self.home}: {HOW_TO_GET}"
        probe = f"from importlib.util import find_spec; print(*[n for n in {NEEDED} if find_spec(n) is None])"
        result = subprocess.run([self.python, "-c", probe], capture_output=True, text=True)
        if result.returncode or result.stdout.strip():
            return f"{self.python} lacks {result.stdout.strip() or 'a working interpreter'} for ComfyUI: {HOW_TO_GET}"
        return None


def installations() -> list[Installation]:
    """Those of COMFYUI_PATH, else the one where comfy-cli puts it; run by COMFYUI_PYTHON, else by the Python that runs the tests.

    Both may be lists, parted as PATH is. One Python serves all copies. Another number of Pythons raises ValueError.
    """
    homes = [Path(home).expanduser().resolve() for home in listed("COMFYUI_PATH", "~/comfy/ComfyUI")]
    pythons = [os.path.expanduser(python) for python in listed("COMFYUI_PYTHON", sys.executable)]
    if len(pythons) == 1:
        pythons *= len(homes)
    if len(pythons) != len(homes):
        raise ValueError(
            f"COMFYUI_PYTHON must name one Python or one for each of the {len(homes)} folders of COMFYUI_PATH, got {len(pythons)}."
        )
    return [Installation(home, python) for home, python in zip(homes, pythons, strict=True)]


def listed(variable: str, default: str) -> list[str]:
    return [entry for entry in os.environ.get(variable, "").split(os.pathsep) if entry] or [default]
