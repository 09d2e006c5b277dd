"""What a filter decided about each image, in a form that other programs read; Sample Filter's help page documents it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..options import Direction
from ..selection.filtering import Decision


def list_verdicts(
    decision: Decision,
    scores: Tensor,
    direction: Direction,
    quantity: str,
    seeds: Sequence[int] | None = None,
    paths: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """One entry for each of B images, in the order of the batch; ready for JSON.

    image: its index, 0 = first.  path: its file, None where it has none.  score: None where it isn't finite.  quantity: the score's name.
    direction: "high_is_bad" or "low_is_bad".  accepted: true, false, or None for an image that was set aside.  seed: None where unknown.
    why: a sentence.
    """
    accepted, unsure = set(decision.accepted), set(decision.unsure)
    return [
        {
            "image": i,
            "path": paths[i] if paths else None,
            "score": score if math.isfinite(score) else None,
            "quantity": quantity,
            "direction": direction.value,
            "accepted": None if i in unsure else i in accepted,
            "seed": seeds[i] if seeds else None,
            "why": decision.reasons[i],
        }
        for i, score in enumerate(scores.tolist())
    ]
