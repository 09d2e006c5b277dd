"""What the scores of earlier images were at each step, so that an image can be set beside them while it is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..values import check_tensor

MOST = 256  # images
ENOUGH = 8  # images, for a band to mean something
BAND = (10.0, 90.0)  # percent
SAME_LEVEL = 1e-3  # relative; noise levels closer than this are one


@dataclass(frozen=True, eq=False)
class StepScores:
    """The scores of M images at S noise levels.

    sigmas: (S,) float64 > 0, all different.   scores: (S, M) float64, finite, the latest image last.
    Raises ValueError when they are no such scores.
    """

    sigmas: Tensor
    scores: Tensor

    def __post_init__(self) -> None:
        check_tensor("sigmas", self.sigmas, (None,), low=torch.finfo(torch.float64).tiny)
        check_tensor("scores", self.scores, (len(self.sigmas), None))
        if len(self.sigmas.unique()) < len(self.sigmas):
            raise ValueError(f"sigmas must all be different, got {self.sigmas.tolist()}")

    def __len__(self) -> int:
        return self.scores.shape[1]

    @classmethod
    def of(cls, measured: Iterable[tuple[Tensor, Tensor]]) -> StepScores | None:
        """From sigmas (S,) and curve (S, B) of each result, the latest last.

        Images with a score that is not finite are left out; None where nothing is left, or a level has no noise or comes twice.
        """
        found: StepScores | None = None
        for sigmas, curve in measured:
            s, c = sigmas.detach().cpu().double(), curve.detach().cpu().double()
            c = c[:, c.isfinite().all(dim=0)]
            if c.numel() and bool((s > 0).all()) and len(s.unique()) == len(s):
                one = cls(s, c[:, -MOST:])
                found = join_steps(found, one)
        return found

    def merge(self, later: StepScores) -> StepScores:
        """With later images, of which at most the latest 256 are kept; those alone where they were measured at other noise levels."""
        if self.sigmas.shape != later.sigmas.shape or not torch.allclose(self.sigmas, later.sigmas, rtol=SAME_LEVEL, atol=0):
            return later
        return StepScores(later.sigmas, torch.cat([self.scores, later.scores], dim=1)[:, -MOST:])

    def band(self, sigma: float) -> tuple[float, float] | None:
        """The 10th and the 90th percentile at a noise level, linear in its logarithm between the levels that were measured.

        None beyond those, and where there are fewer than 8 images.
        """
        low, high = float(self.sigmas.min()) * (1 - SAME_LEVEL), float(self.sigmas.max()) * (1 + SAME_LEVEL)
        if len(self) < ENOUGH or not low <= sigma <= high:
            return None
        order = self.sigmas.argsort()
        levels, sides = self.sigmas[order].log().numpy(), np.percentile(self.scores[order].numpy(), BAND, axis=1)
        below, above = (float(np.interp(np.log(sigma), levels, side)) for side in sides)
        return below, above


def join_steps(earlier: StepScores | None, later: StepScores | None) -> StepScores | None:
    """Both in one, as far as there are two."""
    return earlier.merge(later) if earlier is not None and later is not None else earlier or later
