"""Prompts in parts, and the part that an image heeds least."""

from __future__ import annotations

import math

import pytest
import torch

from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.pixelwise.information import Information
from uncertainty_nodes.core.pixelwise.phrases import leave_one_out, weakest
from uncertainty_nodes.core.result import Uncertainty


def part(scores: list[float], seed: int, provenance: dict[str, str] | None = None) -> Information:
    g = torch.Generator().manual_seed(seed)
    maps, curve = torch.randn(len(scores), 1, 2, 2, generator=g), torch.randn(3, len(scores), generator=g)
    sigmas = torch.tensor([3.0, 2.0, 1.0])
    result = Uncertainty(maps, torch.tensor(scores), curve, sigmas, Direction.LOW_IS_BAD, "information", 6.0, 0.5, provenance or {})
    return Information(result, torch.zeros(len(scores)), maps.square())


def test_the_whole_and_it_without_each_phrase():
    texts, phrases = leave_one_out("a cat,\n\n wearing a hat \non a mat,")
    assert phrases == ["a cat", "wearing a hat", "on a mat"]
    assert texts == ["a cat, wearing a hat, on a mat", "wearing a hat, on a mat", "a cat, on a mat", "a cat, wearing a hat"]
    assert leave_one_out("a cat") == (["a cat", ""], ["a cat"])


@pytest.mark.parametrize("empty", ["", "\n ,\n"])
def test_no_phrase_is_refused(empty):
    with pytest.raises(ValueError, match="phrases is empty"):
        leave_one_out(empty)


def test_each_image_gets_its_own_weakest_part():
    parts = [
        part([1.0, -2.0, 5.0, math.nan], 0, {"note": "of the first"}),
        part([0.5, 3.0, math.inf, 1.0], 1),
        part([2.0, 1.0, 4.0, 0.0], 2),
    ]
    found = weakest(parts)
    assert found.part.tolist() == [1, 0, 1, 0]
    for image, k in enumerate(found.part.tolist()):
        of = parts[k].result
        assert torch.equal(found.result.maps[image], of.maps[image])
        assert torch.equal(found.result.curve[:, image], of.curve[:, image])
        assert torch.equal(found.result.scores[image], of.scores[image]) or math.isnan(of.scores[image])
    assert (found.result.nfe, found.result.seconds) == (18.0, 1.5)
    assert found.result.provenance["of"] == "the lowest of 3 parts" and "note" not in found.result.provenance
    assert found.result.provenance["failed"].startswith("Images 3, 4 of 4 failed")
    with pytest.raises(ValueError, match="There is no part"):
        weakest([])
