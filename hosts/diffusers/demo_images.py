"""Existing images for the bundled demo model: grey, 32 x 32, with a class each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .demo import SHAPE, conditions, load_demo
from .information import Cond

SIZE = (SHAPE[2], SHAPE[1])  # Pillow's order


class DemoModel:
    """The bundled network as an ``ImageModel``. It knows white digits on black."""

    def __init__(self, device: str = "cpu") -> None:
        self.network, self.scheduler = load_demo(device)
        self.device = device

    def fitted(self, picture: Image.Image) -> Image.Image:
        picture = picture.convert("L")
        return picture if picture.size == SIZE else picture.resize(SIZE, Image.Resampling.BICUBIC)

    def encode(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Latents are the pixels, in [-1, 1]."""
        pixels = torch.from_numpy(np.stack([np.asarray(p) for p in pictures]))
        return (pixels.float() / 127.5 - 1)[:, None].to(self.device)

    def conditions(self, latents: Tensor, labels: Sequence[int | None]) -> tuple[Cond, Cond]:
        """Raises ValueError where a class is missing."""
        if any(label is None for label in labels):
            raise ValueError("The demo model needs the class of every image, 0 to 9.")
        return conditions(torch.tensor(labels, device=latents.device))
