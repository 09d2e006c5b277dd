"""What the show command is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..shared.text import printable


@dataclass(frozen=True)
class ShowOptions:
    files: tuple[Path, ...]
    json: bool = False

    def __post_init__(self) -> None:
        for path in self.files:
            if path.is_dir():
                raise ValueError(f"{printable(str(path))!r} is a folder: name the image files in it, or list their scores with sort.")
            if not path.exists():
                raise FileNotFoundError(f"There is no file {printable(str(path))!r}.")
