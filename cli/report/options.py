"""What the report command is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...core.options import check_fields
from ...core.options.limits import PERCENT, PIXELS
from ..shared.checks import check_folder

THUMBNAIL = replace(PIXELS, default=256, low=32)
KEEP = replace(PERCENT, default=75.0)


@dataclass(frozen=True)
class ReportOptions:
    """folder: that a command has written, or any with images that carry scores. out None: ``report`` inside it. thumbnail: longest side."""

    folder: Path
    out: Path | None = None
    keep: float = KEEP.field()
    thumbnail: int = THUMBNAIL.field()

    def __post_init__(self) -> None:
        check_fields(self)
        check_folder(self.target)

    @property
    def target(self) -> Path:
        return self.out or (self.folder if self.folder.is_dir() else self.folder.parent) / "report"
