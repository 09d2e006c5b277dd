"""The scores of a folder's images: one row each, and what an earlier run found out about images that are still the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..shared.ledger import Ledger
from ..shared.pictures import ImageFile


@dataclass(frozen=True)
class Row:
    """One scored image. score, standard_error: None where not finite or where there is none. seconds: its share of its batch's.

    prompt: the image's own, where each brings one.
    """

    file: str
    size: int
    mtime_ns: int
    label: int | None
    score: float | None
    standard_error: float | None
    nfe: float
    seconds: float
    prompt: str | None = None


@dataclass(frozen=True)
class Skipped:
    """An image that can't be read, and why."""

    size: int
    mtime_ns: int
    reason: str
    prompt: str | None = None


def forget_changed(ledger: Ledger, images: Sequence[ImageFile]) -> set[str]:
    """The names of the images that an earlier run scored or could not read; what it knew of files that are others now is dropped."""
    files = {image.name: (image.size, image.mtime_ns, image.prompt) for image in images}
    earlier = [(row["file"], row["size"], row["mtime_ns"], row.get("prompt")) for row in ledger.records()]
    earlier += [(name, s["size"], s["mtime_ns"], s.get("prompt")) for name, s in ledger.skipped().items()]
    gone = {name for name, *state in earlier if files.get(name) != tuple(state)}
    if gone:
        ledger.forget(gone)
    return {name for name, *_ in earlier} - gone
