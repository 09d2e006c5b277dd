"""A threshold with a promise: at most so many of the images that pass it are bad, and so sure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from torch import Tensor

from ..options import limits

STARTS = ((8, 0.2), (2, 0.8))  # testing starts with the best eighth and with the better half of the labels; shares of 1 - confidence
LIMITS_TRIED = 16  # in a guess of how many labels are needed
MOST_LABELS = 1_000_000  # that a sentence asks for


@dataclass(frozen=True)
class RiskLimit:
    """What labelled images allow to promise.

    limit: the badness up to which images may pass; None: no limit keeps the promise.
    passing, bad: labelled images up to the limit, and how many of them are bad.   labels: labelled images in all.
    """

    limit: float | None
    passing: int
    bad: int
    labels: int


def risk_limit(badness: Tensor, bad: Tensor, alpha: float, confidence: float) -> RiskLimit:
    """The most lenient limit t with P(R(t) <= alpha) >= confidence, where R(t) = P(bad | badness <= t).

    Learn then Test (Angelopoulos et al., arXiv 2110.01052, sections 2.1 and 3) with fixed-sequence testing and, since an image is
    bad or not, the exact binomial p-value instead of Hoeffding-Bentkus. With the labelled images ordered by badness, best first,

        H_k: R(t_k) > alpha,   p_k = P(Bin(k, alpha) <= bad images among the first k),   t_k = badness of image k,

    k = m, m + 1, .. N is tested until the first H_k that stands, from two starts: m = N / 8 at a fifth of the level 1 - confidence, which
    finds a limit where only the best images are good enough, and m = N / 2 at the rest, whose many images forgive a bad one among the
    best. The limit is the largest t_k that either has rejected. A start is moved up to the fewest images that could reject without a bad
    one, log(level) / log(1 - alpha); where both then are one, it has the whole level. Each sequence rejects a true H_k with at most its
    level, so both with at most the sum (Bonferroni): N, alpha and confidence alone say where they start. Given the badness of image
    k + 1, the k before it are drawn independently from those below it, so their bad ones are Bin(k, R): the promise is exact
    where R does not fall as t rises, that is, where letting worse scores pass does not make the passing ones better.

    badness: (N,) high = bad; what is not finite is left out. bad: (N,) bool, labels of images drawn as those that will be judged,
    not picked. alpha: in 0..1, the share of bad images among those that pass. Raises ValueError for shapes that don't match.
    """
    ordered, wrong = ranked(badness, bad)
    starts = first_tested(len(ordered), alpha, 1 - confidence)
    passing = max(test_upwards(ordered, wrong, start, alpha, level) for start, level in starts)
    if not passing:
        return RiskLimit(None, 0, 0, len(ordered))
    return RiskLimit(float(ordered[passing - 1]), passing, int(wrong[passing - 1]), len(ordered))


def test_upwards(ordered: np.ndarray, wrong: np.ndarray, start: int, alpha: float, level: float) -> int:
    """How many of the best images the last hypothesis rejected from ``start`` on stands for; 0 where the first one stands."""
    passing = 0
    for k in range(start, len(ordered) + 1):
        if k < len(ordered) and ordered[k] == ordered[k - 1]:
            continue  # equal scores pass together
        if p_value(int(wrong[k - 1]), k, alpha) > level:
            break
        passing = k
    return passing


def ranked(badness: Tensor, bad: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(N,) finite badness, best first, and (N,) how many of the first 1, 2, .. N are bad."""
    if badness.ndim != 1 or bad.shape != badness.shape:
        raise ValueError(f"Labels must be one for each image, got {tuple(badness.shape)} scores and {tuple(bad.shape)} labels.")
    finite = badness.isfinite()
    order = badness[finite].double().argsort(stable=True)
    return badness[finite].double()[order].numpy(), bad[finite][order].numpy().cumsum()


def p_value(bad: int, count: int, alpha: float) -> float:
    """P(Bin(count, alpha) <= bad): how well chance explains so few bad images where the true share is alpha."""
    k, logs = np.arange(bad + 1), log_factorials(1 << count.bit_length())
    log_choose = logs[count] - logs[k] - logs[count - k]
    return float(min(1.0, np.exp(log_choose + k * math.log(alpha) + (count - k) * math.log1p(-alpha)).sum()))


@cache
def log_factorials(most: int) -> np.ndarray:
    """log 0!, log 1!, .. log most!"""
    return np.concatenate([[0.0], np.log(np.arange(1, most + 1)).cumsum()])


def fewest_labels(alpha: float, delta: float) -> int:
    """How many images without a bad one prove that the share is at most alpha."""
    return math.ceil(math.log(delta) / math.log1p(-alpha) - 1e-12)


def first_tested(labels: int, alpha: float, delta: float) -> list[tuple[int, float]]:
    """Where testing starts, and at which level from there."""
    starts = [(max(labels // share, fewest_labels(alpha, delta * part)), delta * part) for share, part in STARTS]
    if starts[0][0] < starts[1][0]:
        return starts
    return [(max(labels // STARTS[1][0], fewest_labels(alpha, delta)), delta)]


def labels_needed(badness: Tensor, bad: Tensor, alpha: float, confidence: float) -> int | None:
    """About how many labels would allow a limit, were the further images like these. None: more like them never would.

    The same share of the images passes a limit, and of those the same share is bad as here; the best of some limits counts.
    """
    wrong, delta = ranked(badness, bad)[1], 1 - confidence
    if not (total := len(wrong)):
        return fewest_labels(alpha, delta)
    found = []
    for passing in np.unique(np.linspace(max(1, total // STARTS[0][0]), total, LIMITS_TRIED).round().astype(int)):
        enough = sample_size(float(wrong[passing - 1]) / passing, alpha, delta)
        if enough is not None:
            found.append(math.ceil(enough * total / passing))
    best = min(found, default=MOST_LABELS + 1)
    return None if best > MOST_LABELS else max(best, total + 1)


def sample_size(rate: float, alpha: float, delta: float) -> int | None:
    """The fewest images of which a share ``rate`` is bad that prove at most alpha, within 5 %. None: rate is too close to it."""
    if rate >= alpha:
        return None
    count = fewest_labels(alpha, delta)
    while p_value(math.ceil(rate * count), count, alpha) > delta:
        count = max(count + 1, int(count * 1.05))
        if count > MOST_LABELS:
            return None
    return count


def check_promise(bad_share: float, confidence: float) -> None:
    """Raises ValueError unless both percentages leave something to prove."""
    limits.BAD_SHARE.check("value (percent of bad images)", bad_share)
    limits.CONFIDENCE.check("confidence", confidence)


def tell(labels: int, needed: int | None, bad_share: float, confidence: float) -> str:
    """Why there is no limit, and the way out, in whole sentences."""
    images = "labelled image" if labels == 1 else "labelled images"
    promise = f"that at most {bad_share:g} % of the accepted images are bad, with {confidence:g} % confidence"
    if needed is None:
        return (
            f"{labels} {images} can't show {promise}, and more like them would not: even of the best scored ones more than "
            f"{bad_share:g} % are bad. Allow more bad images, or use a score that tells them apart better."
        )
    return (
        f"{labels} {images} {'is' if labels == 1 else 'are'} too few to promise {promise}; about {needed} are needed. "
        "Label more images, allow more bad images, or lower the confidence."
    )
