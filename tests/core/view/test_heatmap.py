"""Heatmaps and masks: ends, ties, NaN, sizes, and colours that are the published ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertainty_nodes.core.options import Colormap, HeatmapOptions, HeatmapScale
from uncertainty_nodes.core.view.colormaps import color_table, colorize
from uncertainty_nodes.core.view.heatmap import heatmap, normalise, overlay, reduce_channels, resize, worst_mask

MIN_MAX = {"low": 0.0, "high": 100.0}
GRAY = HeatmapOptions(colormap=Colormap.GRAY, opacity=1.0, **MIN_MAX)
shapes = pytest.mark.parametrize("shape", [(2, 4, 6, 5), (2, 4, 3, 6, 5)])


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# Entries 0, 10, 100, 133, 200, 255 of matplotlib's tables of 256 colours.
PUBLISHED = {
    Colormap.VIRIDIS: [(68, 1, 84), (71, 16, 99), (42, 118, 142), (31, 149, 139), (112, 207, 87), (253, 231, 37)],
    Colormap.MAGMA: [(0, 0, 4), (5, 4, 22), (137, 40, 129), (191, 58, 119), (253, 152, 105), (252, 253, 191)],
    Colormap.INFERNO: [(0, 0, 4), (5, 4, 23), (144, 37, 104), (195, 59, 79), (251, 157, 7), (252, 255, 164)],
    Colormap.TURBO: [(48, 18, 59), (59, 47, 128), (63, 246, 138), (177, 249, 54), (244, 102, 23), (122, 4, 3)],
    Colormap.GRAY: [(i, i, i) for i in (0, 10, 100, 133, 200, 255)],
}


@pytest.mark.parametrize("colormap", Colormap)
def test_colours_are_the_published_ones(colormap):
    heat = torch.tensor([0, 10, 100, 133, 200, 255]) / 255
    np.testing.assert_allclose(colorize(heat, colormap).numpy() * 255, np.array(PUBLISHED[colormap]), atol=2.5)


@pytest.mark.parametrize("colormap", Colormap)
def test_beyond_the_ends_is_the_end_and_nan_the_high_one(colormap):
    low, *_, high = color_table(colormap)
    assert torch.equal(colorize(torch.tensor([-1.0, 2.0, math.nan, math.inf]), colormap), torch.stack([low, high, high, high]))


@shapes
def test_channels_are_averaged_in_float32(shape):
    maps = random(*shape).half()
    torch.testing.assert_close(reduce_channels(maps), maps.float().mean(dim=1))
    assert reduce_channels(maps).dtype == torch.float32


def test_what_is_not_finite_counts_as_the_worst_of_its_own_image():
    maps = torch.tensor([[[[1.0, math.nan, 3.0, -math.inf]]], [[[9.0, 1.0, math.inf, 2.0]]], [[[math.nan] * 4]]])
    assert reduce_channels(maps).tolist() == [[[1, 3, 3, 3]], [[9, 1, 9, 2]], [[0, 0, 0, 0]]]


@pytest.mark.parametrize("scale", HeatmapScale)
def test_an_image_that_failed_is_bright_and_shows_no_nan(scale):
    maps, images = torch.rand(3, 2, 4, 4), torch.rand(3, 8, 8, 3)
    options = HeatmapOptions(colormap=Colormap.GRAY, scale=scale)
    whole = heatmap(maps[[0, 2]], options, images[[0, 2]])
    maps[1] = images[1] = math.nan
    found = heatmap(maps, options, images)
    assert torch.equal(found[[0, 2]], whole)
    assert bool((found[1] == 1).all()) and not worst_mask(maps, 90, 8, 8)[1].any()


def test_each_scale_by_hand():
    maps = torch.tensor([[[0.0, 2.0]], [[2.0, 4.0]]])
    assert normalise(maps, GRAY).tolist() == [[[0, 1]], [[0, 1]]]
    assert normalise(maps, HeatmapOptions(scale=HeatmapScale.BATCH, **MIN_MAX)).tolist() == [[[0, 0.5]], [[0.5, 1]]]
    assert normalise(maps, HeatmapOptions(scale=HeatmapScale.FIXED, low=1, high=3)).tolist() == [[[0, 0.5]], [[0.5, 1]]]


@pytest.mark.parametrize("low_high", [(1.0, 99.0), (10.0, 60.0)])
def test_percentiles_are_numpys(low_high):
    maps = random(3, 9, 7)
    expected = []
    for image in maps.numpy():
        low, high = np.percentile(image, low_high)
        expected.append(np.clip((image - low) / (high - low), 0, 1))
    options = HeatmapOptions(low=low_high[0], high=low_high[1])
    np.testing.assert_allclose(normalise(maps, options).numpy(), np.stack(expected), atol=1e-5)


@given(st.floats(-1e6, 1e6), st.sampled_from([HeatmapScale.IMAGE, HeatmapScale.BATCH]))
def test_a_constant_map_is_dark_and_its_mask_empty(value, scale):
    maps = torch.full((2, 3, 5, 4), value)
    assert not normalise(reduce_channels(maps), HeatmapOptions(scale=scale)).any()
    assert not worst_mask(maps, 90, 16, 12).any()


@pytest.mark.parametrize(("size", "target"), [((64, 48), (20, 17)), ((300, 280), (37, 29))])
def test_rounding_of_a_shrunk_constant_map_is_no_structure(size, target):
    assert not worst_mask(torch.full((1, 1, *size), 0.3), 90, *target).any()


def test_a_lone_bright_pixel_outside_the_percentiles_is_seen():
    maps = torch.zeros(1, 1, 20, 20)
    maps[0, 0, 3, 4] = 1
    heat = normalise(reduce_channels(maps), HeatmapOptions())
    assert heat.sum() == 1
    assert heat[0, 3, 4] == 1


def test_resize_to_the_same_size_is_the_identity_and_else_bilinear():
    maps = random(2, 4, 4)
    assert resize(maps, 4, 4) is maps
    double = resize(torch.tensor([[[0.0, 1.0]]]), 1, 4)
    torch.testing.assert_close(double, torch.tensor([[[0.0, 0.25, 0.75, 1.0]]]))
    torch.testing.assert_close(resize(maps, 1, 1)[:, 0, 0], maps.mean(dim=(1, 2)), atol=0.1, rtol=0)


def test_frames_of_a_video_are_interpolated_from_first_to_last():
    maps = torch.tensor([0.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    assert resize(maps, 3, 3, frames=5)[0, :, 1, 1].tolist() == [0, 1, 2, 3, 4]


@shapes
def test_opacity_zero_is_exactly_the_image_and_one_exactly_the_heatmap(shape):
    maps = random(*shape)
    count = shape[0] * (shape[2] if len(shape) == 5 else 1)
    images = random(count, 12, 10, 3, seed=1)
    assert torch.equal(heatmap(maps, HeatmapOptions(opacity=0.0), images), images)
    alone = heatmap(maps, HeatmapOptions(opacity=1.0), images)
    assert alone.shape == images.shape
    assert torch.equal(alone, heatmap(maps, HeatmapOptions(opacity=1.0), torch.zeros_like(images)))
    torch.testing.assert_close(heatmap(maps, HeatmapOptions(opacity=0.25), images), 0.75 * images + 0.25 * alone)


@shapes
def test_without_images_the_map_keeps_its_size(shape):
    maps = random(*shape)
    gray = heatmap(maps, GRAY)
    assert gray.dtype == torch.float32
    assert gray.shape == (shape[0] * (3 if len(shape) == 5 else 1), 6, 5, 3)
    averages = maps.mean(dim=1).flatten(1)
    order = gray[..., 0].reshape(shape[0], -1).argsort(dim=1, stable=True)
    assert torch.equal(order, averages.argsort(dim=1, stable=True))
    assert gray.min() == 0
    assert gray.max() == 1


def test_a_neighbour_in_the_batch_does_not_matter():
    maps = random(3, 2, 6, 6)
    torch.testing.assert_close(heatmap(maps, HeatmapOptions())[1:2], heatmap(maps[1:2], HeatmapOptions()))
    assert torch.equal(worst_mask(maps, 80, 12, 12)[1:2], worst_mask(maps[1:2], 80, 12, 12))


@pytest.mark.parametrize("percentile", [0, 10, 50, 90, 99, 100])
def test_mask_is_numpys_percentile_per_image(percentile):
    maps = random(2, 3, 10, 10)
    mask = worst_mask(maps, percentile, 10, 10)
    for image, own in zip(maps.mean(dim=1).numpy(), mask.numpy(), strict=True):
        np.testing.assert_array_equal(own, np.ones_like(own) if percentile == 0 else image > np.percentile(image, percentile))
    assert mask.dtype == torch.float32


def test_mask_of_a_video_has_one_limit_for_all_frames_and_ties_stay_out():
    video = torch.tensor([1.0, 2.0]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 4, 4)
    mask = worst_mask(video, 25, 8, 8)
    assert mask.shape == (2, 8, 8)
    assert not mask[0].any()
    assert mask[1].all()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: heatmap(torch.zeros(2, 3), GRAY), r"\(B, C, H, W\).*got \(2, 3\)"),
        (lambda: heatmap(torch.zeros(0, 3, 4, 4), GRAY), "not be empty"),
        (lambda: heatmap(torch.zeros(2, 3, 4, 4), GRAY, torch.zeros(2, 3, 4, 4)), r"\(N, H, W, 3\), got"),
        (lambda: heatmap(torch.zeros(2, 3, 4, 4), GRAY, torch.zeros(4, 4, 4, 3)), "describes 2 images, but 4 images"),
        (lambda: heatmap(torch.zeros(2, 3, 2, 4, 4), GRAY, torch.zeros(5, 4, 4, 3)), "describes 2 videos, but 5 images"),
        (lambda: worst_mask(torch.zeros(1, 1, 2, 2), 101, 2, 2), "mask_percentile must be between 0 and 100, got 101"),
        (lambda: overlay(torch.zeros(1, 2, 2, 3), torch.zeros(1, 3, 3, 3), 0.5), "one shape"),
        (lambda: HeatmapOptions(opacity=1.5), "opacity must be between 0 and 1"),
        (lambda: HeatmapOptions(low=99, high=1), "low must be smaller than high"),
        (lambda: HeatmapOptions(high=101), "high must be between 0 and 100"),
        (lambda: HeatmapOptions(scale=HeatmapScale.FIXED, low=math.nan), "low must be"),
    ],
)
def test_bad_input_is_a_sentence(call, match):
    with pytest.raises(ValueError, match=match):
        call()
