"""A CLIP image tower with random weights, and folders of random pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from tiny_pipelines import seeded


def image_tower(side: int) -> CLIPVisionModelWithProjection:
    """6 features of pictures with so many pixels a side."""
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}
    return seeded(lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes, image_size=side, projection_dim=6)))


def write_blank(folder: Path) -> Path:
    """A folder of one black picture, a.png, as large as a digit."""
    folder.mkdir()
    Image.new("L", (32, 32)).save(folder / "a.png")
    return folder


def write_pictures(folder: Path, count: int, side: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = np.random.RandomState(i).randint(0, 255, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder
