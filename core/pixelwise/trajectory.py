"""Trajectory: how far the sampler's own predictions of an image move from step to step (Aithal et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Trajectory:
    """Var_s(x0_s) over the steps s seen so far, per pixel, divisor S: the spread of S predictions around their mean.

    Predictions x0_s: (B, C, ...), any float dtype; two float32 maps are kept, however many steps there are (Welford 1962).
    Source: Aithal et al. 2024 (arXiv 2406.09358), the hallucination metric, there summed over the dimensions of a sample.
    """

    count: int = 0
    mean: Tensor | None = None
    squares: Tensor | None = None

    def add(self, x0: Tensor) -> None:
        x0 = x0.detach().float()
        if self.mean is None or self.squares is None:
            self.mean, self.squares = torch.zeros_like(x0), torch.zeros_like(x0)
        self.count += 1
        apart = x0 - self.mean
        self.mean = self.mean + apart / self.count
        self.squares = self.squares + apart * (x0 - self.mean)

    @property
    def variance(self) -> Tensor:
        """(B, C, ...) float32, 0 after a single step. Raises ValueError before the first."""
        if self.squares is None:
            raise ValueError("No step was seen: add a prediction first.")
        return self.squares / self.count
