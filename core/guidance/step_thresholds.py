"""Per-step thresholds of guidance, collected from many earlier samples in bounded memory.

One histogram per noise level, with bins evenly spaced in log2: 64 to the octave from 2^-40 to 2^24, so that a percentile is
right to 1.1 % whatever the scale, histograms of several machines add up, and the percentile can be chosen afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..denoiser import finite_rows
from ..files import load_tensors, save_tensors
from ..options import limits
from ..values import check_tensor, check_text, intact

KIND = "step thresholds"
VERSION = 1
OCTAVES = (-40, 24)
PER_OCTAVE = 64
BINS = (OCTAVES[1] - OCTAVES[0]) * PER_OCTAVE
MAX_STEPS = 1000
MAX_COUNT = 2**48  # in a bin; leaves room to add histograms up
SAME_SIGMA = 1e-4  # relative; noise levels closer than this are one step


@dataclass
class StepThresholds:
    """Histograms of U at each step: what ``GuidanceOptions.thresholds`` is read from.

    counts: noise level -> (BINS,) int64.   quantity: the name of what was measured.
    Source: De Vita & Belagiannis 2024, published code (95th percentile per step over 10,000 calibration samples).
    """

    quantity: str
    counts: dict[float, Tensor] = field(default_factory=dict)

    def add(self, sigma: float, maps: Tensor) -> None:
        """Count every value of ``maps``, (B, C, ...) >= 0, at noise level ``sigma`` > 0. An image that is not finite is left out.

        Values below 2^-40 or above 2^24 count as that bound. Raises ValueError for a negative value, sigma <= 0, or more
        than MAX_STEPS noise levels.
        """
        if not 0 < sigma < float("inf"):
            raise ValueError(f"sigma must be a positive number, got {sigma!r}.")
        maps = maps.detach().cpu().float()
        values = maps[finite_rows(maps)].flatten()
        if bool((values < 0).any()):
            raise ValueError(f"A variance cannot be negative, got {float(values.min()):.4g}; give the maps as they were estimated.")
        bins = ((values.log2() - OCTAVES[0]) * PER_OCTAVE).clamp(0, BINS - 1).long()
        self._step(sigma).add_(torch.bincount(bins, minlength=BINS))

    def merge(self, other: StepThresholds) -> None:
        """Add the counts of another collection. Raises ValueError when it holds another quantity."""
        if other.quantity != self.quantity:
            raise ValueError(f"Thresholds of {self.quantity!r} and {other.quantity!r} cannot be joined; collect the same quantity.")
        for sigma, counts in other.counts.items():
            self._step(sigma).add_(counts)

    def table(self, percent: float) -> tuple[tuple[float, float], ...]:
        """(sigma, threshold) of each step, from noisy to clean: ``percent`` % of the values counted there lie below the threshold.

        Raises ValueError when nothing was counted, or percent is outside 0..100.
        """
        limits.PERCENT.check("percent", percent)
        filled = {sigma: counts for sigma, counts in self.counts.items() if counts.any()}
        if not filled:
            raise ValueError("No thresholds were collected yet; add the maps of some samples first.")
        return tuple((sigma, _percentile(filled[sigma], percent)) for sigma in sorted(filled, reverse=True))

    def save(self, path: str | Path) -> None:
        """Write as safetensors. Raises OSError when the file cannot be written."""
        sigmas = sorted(self.counts, reverse=True)
        counts = torch.stack([self.counts[s] for s in sigmas]) if sigmas else torch.zeros(0, BINS, dtype=torch.int64)
        tensors = {"sigmas": torch.tensor(sigmas, dtype=torch.float64), "counts": counts}
        save_tensors(path, tensors, KIND, VERSION, {"quantity": self.quantity})

    @classmethod
    def load(cls, path: str | Path) -> StepThresholds:
        """Read what ``save`` wrote. Raises FileNotFoundError, or ValueError for a truncated, foreign or damaged file."""
        tensors, metadata = load_tensors(path, KIND, VERSION)
        with intact(path, KIND):
            quantity, levels = check_text("quantity", metadata["quantity"]), check_tensor("sigmas", tensors["sigmas"]).double().tolist()
            counts = check_tensor("counts", tensors["counts"], low=0, high=MAX_COUNT, whole=True).long()
            if not isinstance(levels, list) or counts.shape != (len(levels), BINS) or len(levels) > MAX_STEPS:
                raise ValueError(f"counts must have the shape (steps, {BINS}), got {tuple(counts.shape)}")
            if len(set(levels)) < len(levels) or not all(level > 0 for level in levels):
                raise ValueError(f"sigmas must differ and be above 0, got {levels!r:.100}")
            return cls(quantity, dict(zip(levels, counts.unbind(), strict=True)))

    def _step(self, sigma: float) -> Tensor:
        """The counts of this noise level, begun when it is new."""
        for known, counts in self.counts.items():
            if abs(known - sigma) <= SAME_SIGMA * known:
                return counts
        if len(self.counts) >= MAX_STEPS:
            raise ValueError(f"More than {MAX_STEPS} noise levels were collected; calibrate with one schedule.")
        return self.counts.setdefault(float(sigma), torch.zeros(BINS, dtype=torch.int64))


def _percentile(counts: Tensor, percent: float) -> float:
    """The value below which ``percent`` % of the counts lie, log-linear inside its bin."""
    wanted = percent / 100 * float(counts.sum())
    up_to = counts.cumsum(0).double()
    # the first bin that holds something and reaches the wanted count
    index = int(((up_to >= wanted) & (counts > 0)).nonzero()[0])
    inside = 1 - (float(up_to[index]) - wanted) / float(counts[index])
    return 2.0 ** (OCTAVES[0] + (index + inside) / PER_OCTAVE)
