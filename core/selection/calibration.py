"""What scores were like in earlier runs, so that one image alone can be judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import load_tensors, save_tensors
from ..options import Direction, limits
from ..values import check_list, check_tensor, check_text, check_texts, intact

KIND = "calibration"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Calibration:
    """The scores of N earlier images, made in one way.

    scores: (N,) float64, ascending, finite, N >= 1.   direction: which end is bad.   quantity: the score's name.
    provenance: how they were made, one entry per run.
    Raises ValueError when scores are not such a sample.
    """

    scores: Tensor
    direction: Direction
    quantity: str
    provenance: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self) -> None:
        s = self.scores
        if s.ndim != 1 or len(s) == 0 or not bool(s.isfinite().all()) or bool((s.diff() < 0).any()):
            raise ValueError(f"A calibration needs one or more finite scores in ascending order, got shape {tuple(s.shape)}.")

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def fit(
        cls, scores: Sequence[Tensor], direction: Direction, quantity: str, provenance: Sequence[Mapping[str, str]] = ()
    ) -> Calibration:
        """From the scores of one or more runs, each (B,). What is not finite is left out; ValueError when nothing is left."""
        if any(s.ndim != 1 for s in scores):
            raise ValueError(f"Scores to calibrate with must have shape (B,), got {[tuple(s.shape) for s in scores]}.")
        joined = torch.cat([torch.empty(0, dtype=torch.float64), *(s.detach().cpu().double() for s in scores)])
        finite = joined[joined.isfinite()]
        if len(finite) == 0:
            raise ValueError(f"There is nothing to calibrate with: none of the {len(joined)} scores given is finite.")
        return cls(finite.sort().values, direction, quantity, tuple(dict(p) for p in provenance))

    def check(self, quantity: str, direction: Direction) -> None:
        """Raises ValueError when another kind of score is to be compared with this history."""
        if (quantity, direction) != (self.quantity, self.direction):
            raise ValueError(
                f"This calibration holds {self.quantity!r} scores ({self.direction.value}), but {quantity!r} scores ({direction.value}) "
                "are to be compared with it; calibrate again with results of that kind."
            )

    def threshold_at(self, percent: float) -> float:
        """The score that ``percent`` % of the history, ranked best first, is at least as good as; linear between neighbours.

        HIGH_IS_BAD: the ``percent`` percentile of the scores; LOW_IS_BAD: the (100 - percent) percentile.
        0 is the best score seen, 100 the worst.
        """
        limits.PERCENT.check("percent", percent)
        low_to_high = percent if self.direction is Direction.HIGH_IS_BAD else 100 - percent
        return float(np.percentile(self.scores.numpy(), low_to_high))

    def percentile_of(self, score: float) -> float:
        """100 * (number of better scores + half the equal ones) / N: 0 = better than all seen, 100 = worse than all seen.

        Raises ValueError when the score is not finite.
        """
        if not math.isfinite(score):
            raise ValueError(f"score must be a finite number, got {score!r}.")
        below = np.searchsorted(self.scores.numpy(), score, side="left")
        up_to = np.searchsorted(self.scores.numpy(), score, side="right")
        percent = 50 * float(below + up_to) / len(self)
        return percent if self.direction is Direction.HIGH_IS_BAD else 100 - percent

    def merge(self, other: Calibration) -> Calibration:
        """Both histories as one. Raises ValueError when they hold other kinds of scores."""
        self.check(other.quantity, other.direction)
        return Calibration.fit([self.scores, other.scores], self.direction, self.quantity, [*self.provenance, *other.provenance])

    def save(self, path: str | Path) -> None:
        """Write as safetensors. Raises OSError when the file cannot be written."""
        metadata = {"direction": self.direction.value, "quantity": self.quantity, "provenance": list(self.provenance)}
        save_tensors(path, {"scores": self.scores}, KIND, VERSION, metadata)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what ``save`` wrote. Raises FileNotFoundError, or ValueError for a truncated, foreign or damaged file."""
        tensors, metadata = load_tensors(path, KIND, VERSION)
        with intact(path, KIND):
            scores = check_tensor("scores", tensors["scores"], (None,)).double()
            runs = tuple(check_texts("provenance", run) for run in check_list("provenance", metadata["provenance"]))
            return cls(scores, Direction(metadata["direction"]), check_text("quantity", metadata["quantity"]), runs)
