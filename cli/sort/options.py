"""What the sort command is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from ...core.options import check_fields
from ...core.options.limits import PERCENT

KEEP = replace(PERCENT, default=75.0)


class Put(str, Enum):
    """What becomes of the images: put into a folder of the kept and one of the rejected, or only told."""

    MOVE = "move"
    COPY = "copy"
    LIST = "list"


@dataclass(frozen=True)
class SortOptions:
    """keep: percent of the images, the surest. by: the quantity, where images have several. out None: the folder itself."""

    folder: Path
    keep: float = KEEP.field()
    by: str | None = None
    put: Put = Put.LIST
    out: Path | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def target(self) -> Path:
        return self.out or self.folder
