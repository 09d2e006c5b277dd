"""WebUI host: heatmaps as the pictures that the gallery takes."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ....core.options import HeatmapOptions
from ....core.view.heatmap import heatmap


def heatmap_picture(bad_map: Tensor, image: Image.Image) -> Image.Image:
    """The map of one image, (1, C, H, W), laid over it: bright = unsure."""
    pixels = torch.from_numpy(np.asarray(image.convert("RGB")).astype(np.float32) / 255)[None]
    heat = heatmap(bad_map, HeatmapOptions(), pixels)[0]
    return Image.fromarray((heat * 255).round().clamp(0, 255).byte().numpy())
