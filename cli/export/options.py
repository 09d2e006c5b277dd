"""What the export command is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExportOptions:
    """folder: that a command has written results to, or their .json or .sqlite file."""

    folder: Path
