"""Which picture of a sweep stands where in its grid, and which words go with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from .grid import Cell

ONE_ROW = 6  # as many pictures still stand side by side


def sweep_cells(
    labels: Sequence[str], costs: Sequence[str], pictures: Sequence[Sequence[Tensor]], scores: Sequence[Sequence[float]]
) -> list[Cell]:
    """A column for each value and a row for each image of the batch, in the order of reading.

    labels, costs: V texts. pictures, scores: V lists of B pictures or videos, and of their scores.
    """
    return [
        Cell(middle(pictures[v][row]), (labels[v], costs[v]) if row == 0 else (), (score_words(scores[v][row]),))
        for row in range(len(pictures[0]))
        for v in range(len(labels))
    ]


def list_cells(batches: Sequence[Tensor], labels: Sequence[str], scores: Sequence[float], columns: int) -> tuple[list[Cell], int]:
    """The cells of a list of IMAGE batches, and how many stand in a row.

    labels: none, one for each batch, or one for each picture. scores: none, or one for each picture; where there are as many as
    batches, each batch is the frames of one video. columns: 0 gives every value, that is label or else batch, a column of its own
    where all have equally many pictures, and else about as many rows as columns.
    Raises ValueError when the numbers don't fit.
    """
    videos = len(scores) == len(batches)
    groups = [[middle(batch)] if videos else list(batch) for batch in batches]
    pictures = [picture for group in groups for picture in group]
    sources = [number for number, group in enumerate(groups) for _ in group]
    if len(labels) not in (0, len(batches), len(pictures)):
        raise ValueError(f"labels holds {count(labels, 'text')}, but there are {count(pictures, 'image')}; give one for each.")
    if len(scores) not in (0, len(pictures)):
        raise ValueError(f"scores holds {count(scores, 'number')}, but there are {count(pictures, 'image')}; give one for each.")
    named = [labels[number] for number in sources] if len(labels) == len(batches) else list(labels)
    below = [(score_words(score),) for score in scores] or [()] * len(pictures)
    keys = named or sources
    values = list(dict.fromkeys(keys))
    rows = len(pictures) // len(values)
    if columns == 0 and 1 < len(values) < len(pictures) and all(keys.count(value) == rows for value in values):
        places = [[i for i, key in enumerate(keys) if key == value] for value in values]
        heads = [(str(value),) if named else () for value in values]
        cells = [
            Cell(pictures[p[row]], head if row == 0 else (), below[p[row]])
            for row in range(rows)
            for p, head in zip(places, heads, strict=True)
        ]
        return cells, len(values)
    above = [(name,) for name in named] or [()] * len(pictures)
    cells = [Cell(*parts) for parts in zip(pictures, above, below, strict=True)]
    return cells, columns or side(len(cells))


def side(pictures: int) -> int:
    """How many stand in a row when nothing else says it."""
    return pictures if pictures <= ONE_ROW else math.ceil(math.sqrt(pictures))


def middle(frames: Tensor) -> Tensor:
    """What a video is shown by."""
    return frames[len(frames) // 2]


def score_words(score: float) -> str:
    return f"score {score:.4g}" if math.isfinite(score) else "failed: no score"


def count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
