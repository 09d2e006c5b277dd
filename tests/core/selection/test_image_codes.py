"""Which image a score belongs to."""

from __future__ import annotations

from dataclasses import replace

import torch

from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.core.selection.image_codes import image_codes


def result(count: int = 6) -> Uncertainty:
    maps, curve = torch.rand(count, 4, 3, 8, 8), torch.rand(2, count)
    return Uncertainty(maps, curve[-1].clone(), curve, torch.tensor([2.0, 1.0]), Direction.HIGH_IS_BAD, "denoised", 1.0, 0.5)


def test_an_image_has_one_code_in_whatever_batch_it_comes_and_from_its_file(tmp_path):
    whole = result()
    codes = image_codes([whole])
    assert len(codes.unique()) == 6 and codes.dtype is torch.int64
    assert torch.equal(image_codes([whole.select([4, 1]), whole.select([0])]), codes[[4, 1, 0]])
    whole.save(tmp_path / "u")
    assert torch.equal(image_codes([Uncertainty.load(tmp_path / "u")]), codes)


def test_images_with_one_score_are_told_apart_by_map_and_curve():
    first = result(1)
    others = [replace(first, maps=first.maps * 1.0001), replace(first, curve=first.curve * torch.tensor([[1.0001], [1.0]]))]
    assert len(image_codes([first, *others]).unique()) == 3
