"""Alg. 1 of De Vita & Belagiannis 2024 as one writes it down: a scheduler that asks the network once for every draw.

What ours is timed against. It shares no code with the package.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor


class StraightforwardScheduler(DDIMScheduler):
    """DDIM that also measures: at each timestep of ``measured`` the prediction is noised anew ``draws`` times and predicted again."""

    def watch(self, network: UNet2DModel, labels: Tensor, draws: int, measured: set[int]) -> None:
        self.network, self.labels, self.draws, self.measured = network, labels, draws, measured
        self.maps: list[Tensor] = []
        self.calls = 0

    def step(self, output: Tensor, t: Tensor, sample: Tensor, **more: Any) -> Any:
        if int(t) in self.measured:
            self.maps.append(self.uncertainty(output, t, sample))
        return super().step(output, t, sample, **more)

    def uncertainty(self, eps: Tensor, t: Tensor, x: Tensor) -> Tensor:
        """Var(x0_i) over the draws, as (B, C, H, W)."""
        alpha, sigma = self.alphas_cumprod[t].sqrt(), (1 - self.alphas_cumprod[t]).sqrt()
        x0, predictions = (x - sigma * eps) / alpha, []
        for _ in range(self.draws):
            x_i = alpha * x0 + sigma * torch.randn_like(x)
            eps_i = self.network(x_i, t, class_labels=self.labels).sample
            predictions.append((x_i - sigma * eps_i) / alpha)
            self.calls += 1
        return torch.stack(predictions).var(dim=0)

    def scores(self) -> Tensor:
        return torch.stack(self.maps).mean(dim=0).flatten(1).mean(dim=1)
