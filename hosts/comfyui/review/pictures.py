"""What a person looks at: each borderline image and its heatmap, as PNG files in ComfyUI's temporary folder."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ....core.files import replacing
from ....core.options import HeatmapOptions
from ....core.result import Uncertainty
from ....core.view.heatmap import heatmap


def middle_frames(batches: Sequence[Tensor], count: int) -> list[Tensor]:
    """One picture (H, W, 3) for each of ``count`` samples; of a video the frame in the middle."""
    rows = [row for batch in batches for row in batch]
    each = len(rows) // count
    return [rows[i * each + each // 2][..., :3] for i in range(count)]


def picture_of(picture: Tensor) -> dict[str, Any]:
    """Where the page finds it, and its size."""
    name = f"uncertainty_review_{uuid.uuid4().hex}.png"
    pixels = (picture.detach().float().nan_to_num().clamp(0, 1) * 255).round().byte().cpu().numpy()
    with replacing(Path(folder_paths.get_temp_directory()) / name) as path:
        Image.fromarray(np.ascontiguousarray(pixels)).save(path, "PNG", compress_level=1)
    return {"filename": name, "subfolder": "", "type": "temp", "width": picture.shape[1], "height": picture.shape[0]}


def heatmaps(results: Sequence[Uncertainty], pictures: Sequence[Tensor], asked: Sequence[int]) -> dict[int, Tensor]:
    """The picture of each image that is asked about with the colours of its map on it; none for maps that fit no picture."""
    places = [(result, row) for result in results for row in range(len(result))]
    found = {}
    for i in asked:
        result, row = places[i]
        maps = result.bad_maps[row : row + 1].detach().cpu()
        if maps.ndim == 5:
            maps = maps[:, :, maps.shape[2] // 2]
        if maps.ndim == 4 and maps.shape[-1] * maps.shape[-2] > 1 and bool(torch.isfinite(maps).all()):
            found[i] = heatmap(maps, HeatmapOptions(), pictures[i][None].cpu())[0]
    return found
