"""A result in plain numbers and words: what reports, files and pictures' metadata are made of. JSON-ready: what is not finite is None."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..options import Direction
from ..result import Uncertainty, name_failed
from ..selection.ranks import best_first

MAX_BINS = 24


def summarize_scores(
    scores: Tensor, direction: Direction, quantity: str, accepted: Collection[int] | None = None, line: float | None = None
) -> dict[str, Any]:
    """quantity, direction, scores (B), ranks (B, 1 = best), accepted (indexes or None), line, histogram, failed.

    scores: (B,). line: the limit that parted accepted from rejected; None where no line does. Found when not given.
    failed: the sentence that names the images without a score, None where all have one.
    """
    scores = scores.detach().cpu().double()
    badness = scores if direction is Direction.HIGH_IS_BAD else -scores
    order = best_first(badness)
    failed = (~scores.isfinite()).nonzero().flatten().tolist()
    if accepted is not None and line is None:
        line = dividing_line(scores, direction, accepted)
    return {
        "quantity": quantity,
        "direction": direction.value,
        "scores": _plain(scores),
        "ranks": (order.argsort() + 1).tolist(),
        "accepted": None if accepted is None else sorted(accepted),
        "line": line,
        "histogram": histogram(scores, accepted),
        "failed": name_failed(failed, len(scores)) if failed else None,
    }


def summarize(u: Uncertainty, accepted: Collection[int] | None = None) -> dict[str, Any]:
    """What ``summarize_scores`` tells, and sigmas (S), curve (B lists of S), nfe per image, seconds, provenance."""
    return {
        **summarize_scores(u.scores, u.direction, u.quantity, accepted),
        "sigmas": _plain(u.sigmas),
        "curve": [_plain(image) for image in u.curve.T],
        "nfe": u.nfe,
        "seconds": u.seconds,
        "provenance": dict(u.provenance),
    }


def dividing_line(scores: Tensor, direction: Direction, accepted: Collection[int]) -> float | None:
    """Half way between the worst accepted and the best rejected score; None when one side is empty or the sides overlap."""
    kept = torch.zeros(len(scores), dtype=torch.bool)
    kept[list(accepted)] = True
    badness = scores if direction is Direction.HIGH_IS_BAD else -scores
    good, bad = badness[kept & badness.isfinite()], badness[~kept & badness.isfinite()]
    if len(good) == 0 or len(bad) == 0 or good.max() > bad.min():
        return None
    middle = float(good.max() + bad.min()) / 2
    return middle if direction is Direction.HIGH_IS_BAD else -middle


def histogram(scores: Tensor, accepted: Collection[int] | None) -> dict[str, list[float]]:
    """edges (K + 1), and in each of K bins how many were kept and dropped; without a decision all count as kept."""
    values = scores.numpy()
    finite = np.isfinite(values)
    kept = np.ones(len(values), bool) if accepted is None else np.isin(np.arange(len(values)), list(accepted))
    if not finite.any():
        return {"edges": [], "kept": [], "dropped": []}
    bins = min(MAX_BINS, max(5, math.ceil(2 * math.sqrt(finite.sum()))))
    low, high = values[finite].min(), values[finite].max()
    slack = 0.0 if high > low else abs(low) / 2 or 0.5  # equal scores stand in the middle
    edges = np.linspace(low - slack, high + slack, bins + 1)
    counts = {name: np.histogram(values[finite & side], edges)[0].tolist() for name, side in (("kept", kept), ("dropped", ~kept))}
    return {"edges": edges.tolist(), **counts}


def csv_table(summary: dict[str, Any]) -> str:
    """CSV, one row an image: image (0 = first of the batch), score, rank, accepted (yes, no, or empty without a decision)."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n").writerow
    write(["image", "score", "rank", "accepted"])
    for image, (score, rank) in enumerate(zip(summary["scores"], summary["ranks"], strict=True)):
        accepted = "" if summary["accepted"] is None else "yes" if image in summary["accepted"] else "no"
        write([image, "" if score is None else repr(score), rank, accepted])
    return text.getvalue()


def _plain(values: Tensor) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]
