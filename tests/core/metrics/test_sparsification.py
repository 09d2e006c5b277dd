"""Sparsification curves against plain loops, and what must hold for every map."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from references_metrics import area, rmse, rmse_left, rmse_left_without_ties
from uncertainty_nodes.core.metrics.sparsification import PERCENTS, sparsification

seeds = st.integers(0, 10**6)


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_curves_and_areas_are_those_of_a_loop_without_ties():
    maps, errors = random(0, 3, 2, 5, 7), random(1, 3, 2, 5, 7)
    result = sparsification(maps, errors)
    ause, aurg = [], []
    for own_map, own_errors in zip(maps.flatten(1).tolist(), errors.flatten(1).tolist(), strict=True):
        curve = [rmse_left_without_ties(own_map, own_errors, p) for p in PERCENTS]
        oracle = [rmse_left_without_ties([abs(e) for e in own_errors], own_errors, p) for p in PERCENTS]
        positions = [p / 100 for p in PERCENTS]
        ause.append(area(curve, positions) - area(oracle, positions))
        aurg.append(area([rmse(own_errors)] * len(PERCENTS), positions) - area(curve, positions))
        np.testing.assert_allclose(result.curve[len(ause) - 1].numpy(), curve)
        np.testing.assert_allclose(result.oracle[len(ause) - 1].numpy(), oracle)
    np.testing.assert_allclose(result.ause.numpy(), ause)
    np.testing.assert_allclose(result.aurg.numpy(), aurg)
    assert result.fractions.tolist() == pytest.approx([0.02 * i for i in range(50)])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-3, 3)), min_size=1, max_size=6))
def test_ties_share_their_error(pixels):
    uncertainty, errors = ([float(v) for v in column] for column in zip(*pixels, strict=True))
    curve = sparsification(torch.tensor([uncertainty]), torch.tensor([errors])).curve[0]
    expected = [rmse_left(uncertainty, errors, p) for p in PERCENTS]
    np.testing.assert_allclose(curve.numpy(), expected, atol=1e-7)


@given(seeds)
def test_the_error_itself_is_the_oracle_and_nothing_beats_it(seed):
    maps, errors = random(seed, 2, 30), random(seed + 1, 2, 30)
    oracle = sparsification(errors.abs(), errors)
    assert oracle.ause.abs().max() < 1e-12
    assert (oracle.aurg >= 0).all()
    assert (sparsification(maps, errors).ause >= 0).all()
    torch.testing.assert_close(sparsification(maps, errors).ause + sparsification(maps, errors).aurg, oracle.aurg)


@given(seeds)
def test_only_the_order_of_the_pixels_uncertainty_counts(seed):
    maps, errors = random(seed, 1, 4, 5), random(seed + 1, 1, 4, 5)
    result = sparsification(maps, errors)
    torch.testing.assert_close(sparsification(maps.exp(), errors).curve, result.curve)
    torch.testing.assert_close(sparsification(maps.flip(1, 2), -errors.flip(1, 2)).curve, result.curve)
    torch.testing.assert_close(sparsification(maps, 3 * errors).ause, 3 * result.ause)


def test_a_constant_map_is_random_and_the_opposite_is_worse():
    errors = random(0, 2, 40)
    torch.testing.assert_close(sparsification(torch.ones(2, 40), errors).aurg, torch.zeros(2, dtype=torch.float64))
    assert (sparsification(-errors.abs(), errors).aurg < 0).all()


def test_a_neighbour_in_the_batch_does_not_matter():
    maps, errors = random(0, 3, 20), random(1, 3, 20)
    assert torch.equal(sparsification(maps, errors).ause[1:2], sparsification(maps[1:2], errors[1:2]).ause)


@pytest.mark.parametrize(
    ("maps", "errors", "match"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 4), r"\(2, 3\) and \(2, 4\)"),
        (torch.zeros(3), torch.zeros(3), "one shape"),
        (torch.zeros(0, 3), torch.zeros(0, 3), "one shape"),
        (torch.full((1, 3), math.nan), torch.zeros(1, 3), "finite"),
        (torch.zeros(1, 3), torch.full((1, 3), math.inf), "finite"),
    ],
)
def test_bad_input_is_a_sentence(maps, errors, match):
    with pytest.raises(ValueError, match=match):
        sparsification(maps, errors)
