"""Which images somebody called good or bad: a list of them, and where they are among others."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..records import MAX_NAMES
from ..text import printable
from .sources import image_column
from .tables import read_rows

log = logging.getLogger(__name__)
WORDS = {"good": False, "bad": True}


def read_labels(path: Path) -> dict[str, bool]:
    """Whether an image is bad, by its name. Raises FileNotFoundError, or ValueError naming the line that can't be read."""
    column, labels = image_column(path), {}
    for number, row in read_rows(path, column, "labelled image"):
        word = str(row.get("label", "")).strip().lower()
        if word not in WORDS:
            raise ValueError(f"Line {number} of {str(path)!r} must say good or bad under label, got {printable(word)!r:.40}.")
        labels[row[column]] = WORDS[word]
    return labels


def find_labelled(images: Sequence[str], labels: Mapping[str, bool], path: Path) -> tuple[Tensor, Tensor]:
    """Numbers of the images that have labels, and whether they are bad. An image is found by its path in the folder, or its file's name
    where no other has it, since a move changes the path. What is not found is told.
    """
    files = [Path(image).name for image in images]
    counts = Counter(files)
    alone = {file: number for number, file in enumerate(files) if counts[file] == 1}
    numbers = alone | {image: number for number, image in enumerate(images)}
    places = {name: numbers.get(name, numbers.get(Path(name).name)) for name in labels}
    if missing := [printable(name) for name, place in places.items() if place is None]:
        more = f" and {len(missing) - MAX_NAMES} more" if len(missing) > MAX_NAMES else ""
        log.warning("Labelled in %s, but not among the images with scores: %s%s.", path, ", ".join(missing[:MAX_NAMES]), more)
    found = [(place, labels[name]) for name, place in places.items() if place is not None]
    if not found:
        raise ValueError(
            f"None of the images that {str(path)!r} labels carries a score that counts here; name them as the table of results does."
        )
    rows, bad = zip(*found, strict=True)
    return torch.tensor(rows), torch.tensor(bad)
