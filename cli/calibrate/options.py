"""What the calibrate command is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...core.options.bounds import check_fields
from ...core.options.limits import BAD_SHARE, CALIBRATION, CONFIDENCE

FILE, EARLY_FILE = "calibration.safetensors", "early_calibration.safetensors"


@dataclass(frozen=True)
class CalibrateOptions:
    """folder: that a command has written results to, or their .json or .sqlite file. out None: a file in that folder.

    early: whether to collect what images scored on their way. limit: scores that the file keeps.
    """

    folder: Path
    out: Path | None = None
    early: bool = False
    labels: Path | None = None
    prompt_kind: str = ""
    limit: int = CALIBRATION.field()
    bad_share: float = BAD_SHARE.field()
    confidence: float = CONFIDENCE.field()

    def __post_init__(self) -> None:
        check_fields(self)
        if self.path.suffix != ".safetensors":
            raise ValueError(f"out must name a .safetensors file, got {str(self.out)!r}.")

    @property
    def path(self) -> Path:
        folder = self.folder if self.folder.is_dir() else self.folder.parent
        return self.out or folder / (EARLY_FILE if self.early else FILE)
