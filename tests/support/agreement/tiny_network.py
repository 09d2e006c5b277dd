"""One tiny network for every host, called as each of them calls its own; and what a host must tell of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEP = 600  # of 1000 training steps: a noise level that every host's table has
PERCENT = 1 - STEP / 999
SAMPLES, SEED, STRENGTH = 4, 3, 0.1
ASKED = ("denoised", "noise", "information", "guided")


class TinyNetwork(nn.Module):
    """Predicts the noise from x (B, 4, H, W), the training step (B,) and a text (B, L, 8)."""

    storage_dtype = computation_dtype = dtype = torch.float32
    load_device = offload_device = initial_device = torch.device("cpu")

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(4, 12, 3, padding=1), nn.Conv2d(12, 4, 3, padding=1)
        self.time, self.text = nn.Linear(2, 12), nn.Linear(8, 12)
        self.load_state_dict(weights)
        self.requires_grad_(False)

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor, **_: object) -> Tensor:
        t = timesteps.float().expand(x.shape[0])[:, None] / 1000
        inner = self.time(torch.cat([t.sin(), t.cos()], dim=1)) + self.text(context.mean(dim=1))
        return self.last(torch.tanh(self.first(x) + inner[:, :, None, None]))


def problem() -> dict[str, Tensor]:
    """Weights by their names, a batch of latents with its sampler's noise, and two texts."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    shapes = {"first.weight": (12, 4, 3, 3), "first.bias": (12,), "last.weight": (4, 12, 3, 3), "last.bias": (4,)}
    shapes |= {"time.weight": (12, 2), "time.bias": (12,), "text.weight": (12, 8), "text.bias": (12,)}
    weights = {name: draw(*shape) * 0.3 for name, shape in shapes.items()}
    return weights | {"latents": draw(2, 4, 8, 8), "noise": draw(2, 4, 8, 8), "positive": draw(2, 5, 8), "negative": draw(2, 5, 8)}


def network_of(given: dict[str, Tensor]) -> TinyNetwork:
    return TinyNetwork({name: value for name, value in given.items() if "." in name})
