"""A learned early stop: how likely an image is to end badly, from scores of the first part of its run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..files import load_tensors, save_tensors
from ..options import check_range
from ..values import check_list, check_names, check_number, check_tensor, check_text, intact
from .learning import FEWEST, fit_logistic

KIND, VERSION = "early stop", 1
TENSORS = ("mean", "scale", "weights", "good")


@dataclass(frozen=True, eq=False)
class EarlyStop:
    """log odds of a bad image = weights . (f - mean) / scale + offset, f: its K partial scores at one point of the run.

    names: of the scores.  good: (G,) log odds of the images that were good, each by a fit that had not seen it; ascending.
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
        usable = scores.isfinite().all(dim=1)
        x, bad = scores[usable].double(), bad[usable]
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
        return ((scores.double() - self.mean) / self.scale) @ self.weights + self.offset

    def threshold(self, lost: float) -> float:
        """The log odds beyond which to stop, so that of good images at most the share ``lost`` is expected to be stopped.

        The ceil((1 - lost)(G + 1))-th smallest of the good ones' (split conformal: Vovk et al. 2005); inf where G is too few to promise it.
        """
        check_range("lost", lost, 0, 1)
        rank = math.ceil((1 - lost) * (len(self.good) + 1))
        return math.inf if rank > len(self.good) else float(self.good[max(rank, 1) - 1])

    def save(self, path: str | Path) -> None:
        """Write as safetensors. Raises OSError when the file cannot be written."""
        tensors = {name: getattr(self, name) for name in TENSORS}
        save_tensors(path, tensors, KIND, VERSION, {"names": list(self.names), "offset": self.offset})

    @classmethod
    def load(cls, path: str | Path) -> EarlyStop:
        """Read what ``save`` wrote. Raises FileNotFoundError, or ValueError for a truncated, foreign or damaged file."""
        tensors, facts = load_tensors(path, KIND, VERSION)
        with intact(path, KIND):
            check_names("tensors", tensors, TENSORS)
            check_names("facts", facts, ("names", "offset"))
            names = tuple(check_text("names", name) for name in check_list("names", facts["names"]))
            each = {name: check_tensor(name, tensors[name], (len(names),)).double() for name in TENSORS[:-1]}
            good = check_tensor("good", tensors["good"], (None,)).double()
            return cls(names, **each, offset=check_number("offset", facts["offset"], -math.inf), good=good)
