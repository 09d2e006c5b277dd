"""A learned early stop: how likely an image is to end badly, from scores of the first part of its run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..options import check_range
from ..result import VARIANCES
from .learning import FEWEST, fit_logistic
from .risk import fewest_labels, p_value


@dataclass(frozen=True, eq=False)
class EarlyStop:
    """log odds of a bad image = weights . (f - mean) / scale + offset, f: its K partial scores at one point of the run.

    names: of the scores; of those that are variances the logarithm counts.
    good: (G,) log odds of the images that were good, each by a fit that had not seen it; ascending.
    """

    names: tuple[str, ...]
    mean: Tensor
    scale: Tensor
    weights: Tensor
    offset: float
    good: Tensor

    @classmethod
    def fit(cls, names: Sequence[str], scores: Tensor, bad: Tensor, folds: int = 5) -> EarlyStop:
        """Logistic regression with |w|^2 / 2 on standardised scores. scores: (N, K), either direction; bad: (N,) bool.

        An image with a score that is not finite is left out. Deterministic. Raises ValueError for fewer than three of either kind.
        """
        features = as_features(names, scores)
        usable = features.isfinite().all(dim=1)
        x, bad = features[usable], bad[usable]
        for kind, count in (("bad", int(bad.sum())), ("good", int((~bad).sum()))):
            if count < FEWEST:
                raise ValueError(f"An early stop is learned from {FEWEST} good and {FEWEST} bad images or more, got {count} {kind}.")
        mean, scale = x.mean(dim=0), x.std(dim=0).clamp_min(1e-12)
        x, y = (x - mean) / scale, torch.where(bad, 1.0, -1.0).double()
        counts = torch.ones(folds + 1, len(y), dtype=torch.float64)
        fold = torch.empty(len(y), dtype=torch.long)
        for own in (bad, ~bad):  # both kinds in every fold
            fold[own] = torch.arange(int(own.sum())) % folds
        counts[fold, torch.arange(len(y))] = 0
        fits, _ = fit_logistic(x, y, counts)
        unseen = (x * fits[fold, :-1]).sum(dim=1) + fits[fold, -1]
        return cls(tuple(names), mean, scale, fits[-1, :-1], float(fits[-1, -1]), unseen[~bad].sort().values)

    def log_odds(self, scores: Tensor) -> Tensor:
        """(B,) from (B, K); NaN for an image with a score that is not finite."""
        return ((as_features(self.names, scores) - self.mean) / self.scale) @ self.weights + self.offset

    def threshold(self, lost: float, confidence: float | None = None) -> float:
        """The log odds beyond which to stop, so that of good images at most the share ``lost`` is stopped.

        In expectation: the ceil((1 - lost)(G + 1))-th smallest of the good ones' (split conformal: Vovk et al. 2005). With ``confidence``
        in 0..1: the k-th smallest, k the least with P(Bin(G, 1 - lost) <= k - 1) >= confidence, so that the promise holds in that share of
        all sets of labels (tolerance limits: Wilks 1941; Vovk 2012, proposition 2a). inf where G is too few to promise it.

        Both are exact for one fit that has seen none of the good images. Here each was left out of one of several fits, and the fit to all
        of them decides (cross-conformal: Vovk 2015), so that both hold as nearly as those fits are alike: less so with few bad images.
        """
        check_range("lost", lost, 0, 1)
        count = len(self.good)
        rank = math.ceil((1 - lost) * (count + 1))
        if confidence is not None and 0 < lost < 1:
            rank = next((k for k in range(max(rank, 1), count + 1) if p_value(k - 1, count, 1 - lost) >= confidence), count + 1)
        return math.inf if rank > count else float(self.good[max(rank, 1) - 1])

    def check_promise(self, lost: float, confidence: float) -> None:
        """Raises ValueError, telling how many labels are needed, where no threshold keeps the promise."""
        if not math.isfinite(self.threshold(lost, confidence)):
            needed = f"{fewest_labels(lost, 1 - confidence)} are" if lost > 0 else "no number of them is"
            raise ValueError(
                f"{len(self.good)} labelled good images are too few to stop at most {100 * lost:g} % of good images, with "
                f"{100 * confidence:g} % confidence; {needed} enough. Label more images, or lower limit."
            )


def as_features(names: Sequence[str], scores: Tensor) -> Tensor:
    """(B, K) float64."""
    logarithmic = torch.tensor([name in VARIANCES for name in names])
    values = scores.double().cpu()
    return torch.where(logarithmic, values.clamp_min(1e-30).log(), values)
