"""Maps of uncertainty for a viewer in another program: small, as whole numbers, with what is needed to read them back.

The viewer draws what ``heatmap`` and ``worst_mask`` make, from the same values, while its user moves opacity, colours and percentile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..denoiser import finite_rows
from ..options import HeatmapOptions
from .heatmap import color_ends, reduce_channels, resize

LEVELS = 65535
LONGEST_SIDE = 512  # of a plane; larger maps are shrunk to it
MOST_PLANES = 64  # of a batch or a video; the pictures between are left out evenly


@dataclass(frozen=True)
class Plane:
    """One picture's map: value = low + (high - low) * level / 65535. ends: what the colours reach from and to. index: of the picture.

    failed: the image has no finite pixel; its values mean nothing, and all of it is bright.
    """

    index: int
    levels: Tensor  # (H, W) int32 in [0, 65535]
    low: float
    high: float
    ends: tuple[float, float]
    failed: bool


def pack_planes(bad_maps: Tensor, options: HeatmapOptions, frames: int | None = None, most: int = MOST_PLANES) -> list[Plane]:
    """Of (B, C, H, W), or (B, C, T, H, W) with ``frames`` pictures a video, at most ``most`` of the pictures, first and last with them."""
    reduced = reduce_channels(bad_maps)
    low, high = (end.expand(len(reduced)) for end in color_ends(reduced, options, finite_rows(bad_maps)))
    failed = ~bad_maps.isfinite().flatten(1).any(dim=1)
    scale = min(1.0, LONGEST_SIDE / max(reduced.shape[-2:]))
    height, width = (max(1, round(side * scale)) for side in reduced.shape[-2:])
    maps = resize(reduced, height, width, frames)
    each = 1 if maps.ndim == 3 else maps.shape[1]
    pictures = maps if maps.ndim == 3 else maps.flatten(0, 1)
    return [
        _pack(index, pictures[index], (float(low[index // each]), float(high[index // each])), bool(failed[index // each]))
        for index in spread_indexes(len(pictures), most)
    ]


def spread_indexes(count: int, most: int) -> Sequence[int]:
    """At most ``most`` of 0 ... count - 1, evenly, first and last among them."""
    if count <= most:
        return range(count)
    return [round(i * (count - 1) / max(1, most - 1)) for i in range(most)]


def levels_as_bytes(planes: Sequence[Plane]) -> bytes:
    """All levels, plane after plane and row after row, as unsigned 16 bit, low byte first."""
    levels = torch.stack([plane.levels for plane in planes]).numpy()
    return levels.astype("<u2").tobytes()


def _pack(index: int, values: Tensor, ends: tuple[float, float], failed: bool) -> Plane:
    low, high = float(values.min()), float(values.max())
    span = high - low
    usable = span > 0 and math.isfinite(span)
    levels = ((values.double() - low) / span * LEVELS).round() if usable else torch.zeros_like(values)
    return Plane(index, levels.to(torch.int32).cpu(), low, high if usable else low, ends, failed)
