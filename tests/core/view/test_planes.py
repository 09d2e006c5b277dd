"""Maps as whole numbers for a viewer: read back they are the maps, and the colours' ends are those of the heatmap."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from uncertainty_nodes.core.options import HeatmapOptions
from uncertainty_nodes.core.view.heatmap import normalise, reduce_channels, resize
from uncertainty_nodes.core.view.planes import LEVELS, levels_as_bytes, pack_planes, spread_indexes


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def values(plane):
    return plane.low + (plane.high - plane.low) * plane.levels.double() / LEVELS


def test_values_and_colours_can_be_read_back():
    maps = random(3, 4, 6, 5) * 10 - 5
    planes = pack_planes(maps, HeatmapOptions())
    assert [plane.index for plane in planes] == [0, 1, 2]
    for plane, expected, heat in zip(planes, maps.mean(dim=1), normalise(reduce_channels(maps), HeatmapOptions()), strict=True):
        np.testing.assert_allclose(values(plane), expected, atol=(plane.high - plane.low) / LEVELS)
        low, high = plane.ends
        np.testing.assert_allclose(((values(plane) - low) / (high - low)).clamp(0, 1), heat, atol=1e-4)


def test_frames_of_videos_are_pictures_of_their_own():
    maps = random(2, 1, 3, 4, 4)
    planes = pack_planes(maps, HeatmapOptions(), frames=5)
    frames = resize(maps[:, 0], 4, 4, 5).flatten(0, 1)
    assert len(planes) == 10 and planes[0].ends == planes[4].ends != planes[5].ends
    for plane, expected in zip(planes, frames, strict=True):
        np.testing.assert_allclose(values(plane), expected, atol=1e-4)


def test_large_maps_and_large_batches_are_bounded():
    assert pack_planes(random(1, 1, 2, 1500), HeatmapOptions())[0].levels.shape == (1, 512)
    planes = pack_planes(random(9, 1, 2, 2), HeatmapOptions(), most=4)
    assert [plane.index for plane in planes] == [0, 3, 5, 8]
    assert list(spread_indexes(100, 64))[::63] == [0, 99]


@pytest.mark.parametrize("value", [0.0, -3.25])
def test_a_map_without_contrast_is_its_one_value(value):
    (plane,) = pack_planes(torch.full((1, 2, 3, 3), value), HeatmapOptions())
    assert plane.low == plane.high == value and not plane.levels.any() and not plane.failed


def test_a_failed_image_is_told():
    maps = random(2, 1, 3, 3)
    maps[1] = math.nan
    maps[0, 0, 0, 0] = math.inf
    good, bad = pack_planes(maps, HeatmapOptions())
    assert (good.failed, bad.failed) == (False, True)
    assert int(good.levels[0, 0]) == LEVELS  # what is not finite counts as the worst
    assert all(map(math.isfinite, (bad.low, bad.high, *bad.ends)))


def test_bytes_are_the_levels_in_order():
    planes = pack_planes(random(2, 1, 3, 4), HeatmapOptions())
    read = np.frombuffer(levels_as_bytes(planes), "<u2").reshape(2, 3, 4)
    for plane, levels in zip(planes, read, strict=True):
        assert (plane.levels.numpy() == levels).all()
