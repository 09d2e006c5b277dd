"""Images near the line between accepted and rejected: which they are, and what others than the rule decide about them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from torch import Tensor

from ..options import FilterRule, limits
from .calibration import Calibration
from .filtering import Decision

COUNTING = (FilterRule.DROP_WORST_PERCENT, FilterRule.KEEP_BEST_COUNT)


def find_borderline(
    scores: Tensor, decision: Decision, rule: FilterRule, value: float, band: float, calibration: Calibration | None = None
) -> tuple[int, ...]:
    """Indexes of the images whose distance to the line is at most ``band`` percent, in the order of the batch.

    drop_worst_percent, keep_best_count   100 |p - k| / B, with p the image's place, 1/2 for the best of B images, and k images accepted.
    calibrated                            |percentile_of(score) - percentile_of(threshold)|, in percent of the earlier scores.
    other rules                           100 |score - threshold| / |threshold|, or as calibrated where earlier scores are given.

    scores: (B,). decision: the rule's own. band: 0..100. An image without a finite score is never borderline.
    """
    limits.BAND.check("band", band)
    finite = _finite(scores)
    if rule in COUNTING:
        size, kept = len(decision.order), len(decision.accepted)
        distances = {image: 100 * abs(place + 0.5 - kept) / size for place, image in enumerate(decision.order)}
    elif decision.threshold is None or not math.isfinite(decision.threshold):
        return ()
    elif calibration is not None:
        line = value if rule is FilterRule.CALIBRATED else calibration.percentile_of(decision.threshold)
        distances = {i: abs(calibration.percentile_of(s) - line) for i, s in finite.items()}
    else:
        unit = abs(decision.threshold) / 100
        distances = {i: abs(s - decision.threshold) / unit if unit else 100.0 * (s != 0) for i, s in finite.items()}
    return tuple(i for i in sorted(distances) if i in finite and distances[i] <= band + 1e-9)


def settle(
    decision: Decision, accept: Collection[int] = (), reject: Collection[int] = (), set_aside: Collection[int] = (), why: str = ""
) -> Decision:
    """The decision with some images moved to another side, and in their reasons ``why``, a clause such as "in a review".

    Each image that is named moves, and the sides stay in the order of the batch. Raises ValueError for an image that is named twice.
    """
    sides = {"Accepted": set(accept), "Rejected": set(reject), "Unsure": set(set_aside)}
    moved = set().union(*sides.values())
    if len(moved) < sum(map(len, sides.values())) or not moved <= set(decision.order):
        raise ValueError(f"Each image of the batch can be moved to one side only, got {[sorted(side) for side in sides.values()]}.")
    reasons = list(decision.reasons)
    for word, images in sides.items():
        for i in images:
            reasons[i] = re.sub(r"^\w+( [^:]*)?:", f"{word} {why}:" if why else f"{word}:", reasons[i], count=1)

    def side(word: str, before: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted((set(before) - moved) | sides[word]))

    return Decision(
        side("Accepted", decision.accepted),
        side("Rejected", decision.rejected),
        decision.order,
        decision.threshold,
        tuple(reasons),
        side("Unsure", decision.unsure),
    )


def _finite(scores: Tensor) -> dict[int, float]:
    return {i: s for i, s in enumerate(scores.tolist()) if math.isfinite(s)}
