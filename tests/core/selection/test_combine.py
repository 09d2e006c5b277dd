"""Several results as one, against scipy's ranks and z-scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, zscore

from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.core.selection.combine import combine

HIGH, LOW = Direction.HIGH_IS_BAD, Direction.LOW_IS_BAD


def result(scores: list[float], direction: Direction = HIGH, quantity: str = "denoised", maps: torch.Tensor | None = None, **said: str):
    values = torch.tensor(scores)
    maps = torch.randn(len(scores), 2, 3, 3, generator=torch.Generator().manual_seed(len(quantity))) if maps is None else maps
    return Uncertainty(maps, values, values.expand(2, -1), torch.tensor([2.0, 1.0]), direction, quantity, 8.0, 0.5, said)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.0), (0.0, 0.0, 3.0)])
def test_scores_and_maps_are_the_naive_ones(weights):
    results = [
        result([3.0, 1.0, 2.0, 2.0]),
        result([-5.0, 90.0, 7.0, 0.0], LOW, "information"),
        result([0.1, 0.4, 0.2, 0.3], HIGH, "noise"),
    ]
    joined = combine(results, weights)
    signs = (1, -1, 1)
    ranks = [(rankdata(s * r.scores.numpy()) - 1) / 3 for s, r in zip(signs, results, strict=True)]
    maps = [zscore(s * r.maps.double().numpy(), axis=None) for s, r in zip(signs, results, strict=True)]
    np.testing.assert_allclose(joined.scores.numpy(), np.average(ranks, axis=0, weights=weights), atol=1e-6)
    np.testing.assert_allclose(joined.maps.numpy(), np.average(maps, axis=0, weights=weights), atol=1e-5)
    assert (joined.direction, joined.quantity, joined.nfe, joined.seconds) == (HIGH, "combined", 24.0, 1.5)
    assert joined.maps.dtype == joined.scores.dtype == torch.float32


def test_the_curve_is_one_row_and_the_words_tell_what_went_in():
    joined = combine([result([1.0, 2.0], note="Few draws."), result([1.0, 2.0], LOW, "information", caution="Distilled.")], [1.0, 0.25])
    assert torch.equal(joined.curve, joined.scores[None]) and joined.sigmas.tolist() == [0.0]
    assert joined.provenance == {
        "of": "denoised (high_is_bad) x 1, information (low_is_bad) x 0.25",
        "by": "weighted average of ranks in this batch",
        "note of 1": "Few draws.",
        "caution of 2": "Distilled.",
    }


def test_it_is_saved_and_combined_again(tmp_path):
    joined = combine([result([1.0, 2.0, 3.0]), result([1.0, 3.0, 2.0])], [1.0, 1.0])
    joined.save(tmp_path / "u.safetensors")
    again = combine([Uncertainty.load(tmp_path / "u.safetensors"), joined], [1.0, 1.0])
    assert again.scores.tolist() == [0.0, 0.75, 0.75]


def test_a_constant_map_adds_nothing():
    """0.1 has no exact mean in float32 nor float64: its rounding must not become a pattern."""
    seen, flat = result([1.0, 2.0]), result([1.0, 2.0], maps=torch.full((2, 2, 3, 3), 0.1))
    np.testing.assert_allclose(combine([seen, flat], [1.0, 1.0]).maps.numpy(), zscore(seen.maps.double().numpy(), axis=None) / 2, atol=1e-6)
    assert torch.equal(combine([flat, flat], [1.0, 1.0]).maps, torch.zeros(2, 2, 3, 3))


def test_a_single_image_gets_the_middle_and_a_note():
    joined = combine([result([7.0]), result([-2.0], LOW)], [1.0, 3.0])
    assert joined.scores.tolist() == [0.5]
    assert "A single image" in joined.provenance["note"] and joined.maps.isfinite().all()


def test_what_is_not_finite_stays_so_and_spoils_no_other_image():
    broken = result([math.nan, 1.0, 2.0])
    broken.maps[0] = math.nan
    joined = combine([broken, result([1.0, 3.0, 2.0])], [1.0, 2.0])
    torch.testing.assert_close(joined.scores, torch.tensor([math.nan, 2 / 3, 1 / 3]), equal_nan=True)
    assert joined.maps[0].isnan().all() and joined.maps[1:].isfinite().all()


@pytest.mark.parametrize(
    ("results", "weights", "match"),
    [
        ([], [], "needs two results or more, got 0; connect another"),
        ([result([1.0])], [1.0], "needs two results or more, got 1"),
        ([result([1.0]), result([1.0, 2.0])], [1.0, 1.0], "must be of the same images, got batches of 1, 2; score one batch"),
        ([result([1.0]), result([1.0], maps=torch.zeros(1, 2, 4, 4))], [1.0, 1.0], r"one shape, got \(2, 3, 3\), \(2, 4, 4\); measure"),
        ([result([1.0]), result([2.0])], [0.0, 0.0], r"weights must be 0 or more and not all 0, got \[0.0, 0.0\]"),
        ([result([1.0]), result([2.0])], [1.0, -1.0], "weights must be 0 or more"),
        ([result([1.0]), result([2.0])], [1.0, math.nan], "weights must be 0 or more"),
        ([result([1.0]), result([2.0])], [1.0], "one weight for each, got 2 scores and 1 weights"),
    ],
)
def test_bad_input_is_a_sentence(results, weights, match):
    with pytest.raises(ValueError, match=match):
        combine(results, weights)
