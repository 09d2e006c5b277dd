"""Which images to keep: a rule applied to scores, with a reason for each image.

What every rule shares. Images are ordered by badness, best first; equal scores keep their order in the batch, so the
lower index is kept first. An image whose score is NaN or infinite is worst of all and never accepted, whatever the rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..options import Direction, FilterRule, check_range, limits
from .calibration import Calibration
from .ranks import best_first, rank_average


@dataclass(frozen=True)
class Decision:
    """What a filter decided about B images.

    accepted, rejected: indexes, each in the order of the batch.   order: all indexes, best first.
    threshold: the limit that was applied, in the score's units; for the two counting rules the score of the last image
    kept. None when nothing was kept by counting, or when an external score had a say.
    reasons: one short sentence per image, in the order of the batch.
    unsure: indexes that were set aside, which are neither accepted nor rejected; a rule alone sets none aside.
    """

    accepted: tuple[int, ...]
    rejected: tuple[int, ...]
    order: tuple[int, ...]
    threshold: float | None
    reasons: tuple[str, ...]
    unsure: tuple[int, ...] = ()

    @property
    def ranks(self) -> tuple[int, ...]:
        """Place of each image, 1 = best, in the order of the batch."""
        places = {index: place for place, index in enumerate(self.order, start=1)}
        return tuple(places[index] for index in range(len(self.order)))


@dataclass(frozen=True)
class _Limit:
    """What a rule comes to on this batch: who passes, (B,) bool, at which threshold, and the words for either side."""

    passes: Tensor
    threshold: float | None
    kept: str
    dropped: str


def decide(
    scores: Tensor,
    direction: Direction,
    rule: FilterRule,
    value: float,
    calibration: Calibration | None = None,
    extra_scores: Tensor | None = None,
    extra_weight: float = 0.0,
    extra_direction: Direction = Direction.LOW_IS_BAD,
    quantity: str | None = None,
    made: Mapping[str, str] | None = None,
    confidence: float = limits.CONFIDENCE.default,
) -> Decision:
    """Accept or reject each image of a batch.

    drop_worst_percent  value in 0..100: the worst floor(B * value / 100) images go, so never more than asked; 0 keeps all.
    keep_best_count     value a whole number: the best ``value`` images stay; 0 keeps none, B or more keeps all.
    threshold           value in the score's units: stays when score <= value (HIGH_IS_BAD) or score >= value (LOW_IS_BAD).
    calibrated          value in 0..100: the threshold rule at ``calibration.threshold_at(value)``; needs ``quantity``, the score's name.
                        made: how the scores were made, from their provenance; it must not contradict the calibration's.
    at_most_bad         value in percent: the threshold rule at ``calibration.risk_threshold(value, confidence)``, from labelled images:
                        at most ``value`` % of what passes is bad, with ``confidence`` %. Needs what calibrated needs.

    scores: (B,). extra_scores: (B,) of any origin, joined with weight extra_weight in 0..1 by ``rank_average`` (the
    score itself has 1 - extra_weight). That makes a ranking without units, so only the two counting rules take it.
    Raises ValueError, naming input and value, when something does not fit.
    """
    scores = _checked(scores, "scores").to(torch.promote_types(scores.dtype, torch.float32))
    limits.EXTRA_WEIGHT.check("extra_weight", extra_weight)
    joined = extra_scores is not None and extra_weight > 0
    if joined and rule not in (FilterRule.DROP_WORST_PERCENT, FilterRule.KEEP_BEST_COUNT):
        raise ValueError(
            f"The rule {rule.value!r} compares the score in its own units and takes no extra scores; "
            "use 'drop_worst_percent' or 'keep_best_count', or set extra_weight to 0."
        )
    badness = _badness(scores, direction)
    if joined and extra_scores is not None:
        extra = _badness(_checked(extra_scores, "extra_scores", len(scores)), extra_direction)
        badness = rank_average([badness, extra], [1 - extra_weight, extra_weight])
    order = best_first(badness)
    if rule in (FilterRule.DROP_WORST_PERCENT, FilterRule.KEEP_BEST_COUNT):
        limit = _by_count(scores, badness, order, _kept_count(rule, value, len(scores)), joined)
    else:
        limit = _by_threshold(scores, direction, *_threshold(rule, value, direction, calibration, quantity, made, confidence))
    return _decision(scores, badness, order, limit)


def _checked(scores: Tensor, name: str, count: int | None = None) -> Tensor:
    if scores.ndim != 1 or len(scores) == 0 or (count is not None and len(scores) != count):
        wanted = "one number per image" if count is None else f"one number for each of the {count} images"
        raise ValueError(f"{name} must be {wanted}, got shape {tuple(scores.shape)}.")
    return scores.detach().cpu()


def _badness(scores: Tensor, direction: Direction) -> Tensor:
    return scores if direction is Direction.HIGH_IS_BAD else -scores


def _kept_count(rule: FilterRule, value: float, batch: int) -> int:
    if rule is FilterRule.DROP_WORST_PERCENT:
        limits.PERCENT.check("value (percent to drop)", value)
        return batch - int(batch * value / 100 + 1e-9)  # 60,000 * 16.666.. / 100 is 10,000, not 9,999
    check_range("value (images to keep)", value, 0)
    if value != int(value):
        raise ValueError(f"value (images to keep) must be a whole number, got {value!r}.")
    return min(int(value), batch)


def _by_count(scores: Tensor, badness: Tensor, order: Tensor, count: int, joined: bool) -> _Limit:
    kept = order[:count]
    kept = kept[badness[kept].isfinite()]
    passes = torch.zeros(len(scores), dtype=torch.bool)
    passes[kept] = True
    threshold = None if joined or len(kept) == 0 else float(scores[kept[-1]])
    return _Limit(passes, threshold, f"among the best {count}", f"not among the best {count}")


def _threshold(
    rule: FilterRule,
    value: float,
    direction: Direction,
    calibration: Calibration | None,
    quantity: str | None,
    made: Mapping[str, str] | None,
    confidence: float,
) -> tuple[float, str]:
    """The limit in the score's units, and what it is."""
    if rule is FilterRule.THRESHOLD:
        if not math.isfinite(value):
            raise ValueError(f"value (threshold) must be a finite number, got {value!r}.")
        return float(value), "the threshold"
    if rule is FilterRule.CALIBRATED:
        limits.PERCENT.check("value (percentile of earlier scores)", value)
    calibration = need_calibration(rule, calibration)
    if quantity is None:
        raise ValueError(f"The rule {rule.value!r} needs a calibration and the name of the score that is compared with it.")
    calibration.check(quantity, direction, made)
    if rule is FilterRule.CALIBRATED:
        return calibration.threshold_at(value), f"the {value:g} % limit of {len(calibration)} earlier scores"
    threshold = calibration.risk_threshold(value, confidence)
    return threshold, f"the limit for at most {value:g} % bad, {confidence:g} % sure from {len(calibration.labelled)} labels"


def need_calibration(rule: FilterRule, calibration: Calibration | None) -> Calibration:
    """The calibration. Raises ValueError where a rule that needs one has none."""
    if calibration is None:
        earlier = "scores of earlier images" if rule is FilterRule.CALIBRATED else "scores of images that you called good or bad"
        raise ValueError(f"The rule {rule.value!r} needs a calibration, the {earlier}: give one (Calibrate makes it), or use another rule.")
    return calibration


def _by_threshold(scores: Tensor, direction: Direction, threshold: float, name: str) -> _Limit:
    limit = torch.tensor(threshold, dtype=scores.dtype)  # rounded as the scores are, so that a score passes at its own value
    high = direction is Direction.HIGH_IS_BAD
    passes = (scores <= limit if high else scores >= limit) & scores.isfinite()
    beyond, within = ("above", "not above") if high else ("below", "not below")
    return _Limit(passes, threshold, f"{within} {name}, {threshold:.4g}", f"{beyond} {name}, {threshold:.4g}")


def _decision(scores: Tensor, badness: Tensor, order: Tensor, limit: _Limit) -> Decision:
    places = order.argsort()
    reasons = []
    for index, passes in enumerate(limit.passes.tolist()):
        seen = f"score {float(scores[index]):.4g}, rank {int(places[index]) + 1} of {len(scores)}"
        if passes:
            reasons.append(f"Accepted: {seen}, {limit.kept}.")
        elif not badness[index].isfinite():
            reasons.append(f"Rejected: {seen}, a score is not a finite number.")
        else:
            reasons.append(f"Rejected: {seen}, {limit.dropped}.")
    accepted = tuple(limit.passes.nonzero().flatten().tolist())
    rejected = tuple((~limit.passes).nonzero().flatten().tolist())
    return Decision(accepted, rejected, tuple(order.tolist()), limit.threshold, tuple(reasons))
