"""What the show command is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ShowOptions:
    files: tuple[Path, ...]
    json: bool = False
