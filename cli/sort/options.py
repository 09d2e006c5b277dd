"""What the sort command is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from ...core.options import check_fields
from ...core.options.limits import BAD_SHARE, CONFIDENCE, PERCENT

KEEP = replace(PERCENT, default=75.0)


class Put(str, Enum):
    """What becomes of the images: put into a folder of the kept and one of the rejected, or only told."""

    MOVE = "move"
    COPY = "copy"
    LIST = "list"


@dataclass(frozen=True)
class SortOptions:
    """keep: percent of the images, the surest. by: the quantity, where images have several. out None: the folder itself.

    calibration: a file of earlier images' scores; keep is then the percent of those that would be kept.
    at_most_bad: in place of keep, as many as may be while at most that many percent of them are bad, with ``confidence`` percent: by what
    labels says of some of them, a file, or calibration, where it has labels. save_calibration: where this run saves one.
    """

    folder: Path
    keep: float = KEEP.field()
    by: str | None = None
    put: Put = Put.LIST
    out: Path | None = None
    at_most_bad: float | None = None
    confidence: float | None = None
    labels: Path | None = None
    calibration: Path | None = None
    save_calibration: Path | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        BAD_SHARE.check("at_most_bad", self.bad_share)
        CONFIDENCE.check("confidence", self.sure)
        if self.at_most_bad is None:
            for name in ("confidence", "labels", "save_calibration"):
                if getattr(self, name) is not None:
                    flag = name.replace("_", "-")
                    raise ValueError(f"{name} belongs to at_most_bad, which is not asked for: give --at-most-bad, or leave out --{flag}.")
        elif (self.labels is None) == (self.calibration is None):
            raise ValueError(
                "at_most_bad rests on images that somebody called good or bad: give either --labels, a list of them, or --calibration, "
                "which an earlier run has saved."
            )
        if self.save_calibration is not None and self.labels is None:
            raise ValueError("save_calibration saves what --labels says; give that too.")

    @property
    def bad_share(self) -> float:
        return BAD_SHARE.default if self.at_most_bad is None else self.at_most_bad

    @property
    def sure(self) -> float:
        return CONFIDENCE.default if self.confidence is None else self.confidence

    @property
    def target(self) -> Path:
        return self.out or self.folder
