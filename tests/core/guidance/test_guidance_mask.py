"""What guidance acts on: the mask above a percentile, of the image itself or of earlier samples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertainty_nodes.core.guidance.step import high_uncertainty
from uncertainty_nodes.core.options import GuidanceOptions


@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 8, 8), (2, 1, 3, 5, 5), (1, 1)])
@given(percentile=st.floats(0.001, 100), seed=st.integers(0, 99))
def test_the_mask_holds_what_lies_above_the_percentile_of_its_own_image(shape, percentile, seed):
    u = torch.rand(shape, generator=torch.Generator().manual_seed(seed)).mul(50).round()  # rounded: with ties
    mask = high_uncertainty(u, GuidanceOptions(percentile=percentile), torch.ones(shape[0]))
    for image, got in zip(u, mask, strict=True):
        threshold = torch.quantile(image.double(), percentile / 100)
        sure = (image.double() - threshold).abs() > 1e-6  # interpolation rounds
        assert torch.equal(got[sure], (image > threshold)[sure].float())
        assert set(got.unique().tolist()) <= {0.0, 1.0}


def test_the_ends_of_the_percentile():
    u = torch.rand(2, 3, 8, 8)
    masks = [high_uncertainty(u, GuidanceOptions(percentile=p), torch.ones(2)).mean().item() for p in (0, 50, 95, 100)]
    assert masks == pytest.approx([1.0, 0.5, 0.05, 0.0], abs=0.005)


def test_thresholds_are_those_of_the_nearest_level_of_each_image():
    u, table = torch.linspace(0, 1, 11).repeat(4, 1), ((10.0, 0.35), (1.0, 0.65), (0.1, 0.95))
    mask = high_uncertainty(u, GuidanceOptions(percentile=50.0, thresholds=table), torch.tensor([50.0, 1.2, 0.9, 0.01]))
    assert mask.sum(dim=1).tolist() == [7, 4, 4, 1]
