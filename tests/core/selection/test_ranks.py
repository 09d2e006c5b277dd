"""Ranks and their average, against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from uncertainty_nodes.core.selection.ranks import average_ranks, rank_average

few_values = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30)


@given(few_values)
def test_average_ranks_are_scipys(values):
    np.testing.assert_allclose(average_ranks(torch.tensor(values)).numpy(), rankdata(values))


@given(few_values, st.floats(0.1, 9))
def test_one_score_keeps_its_order_and_units_do_not_matter(values, factor):
    badness = torch.tensor(values, dtype=torch.float64)
    joined = rank_average([badness], [3.0])
    torch.testing.assert_close(joined, rank_average([badness * factor + 1], [1.0]))
    assert torch.equal(joined[:, None] < joined[None], badness[:, None] < badness[None])
    assert ((joined >= 0) & (joined <= 1)).all()


def test_weights_by_hand():
    first, second = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([30.0, 10.0, 10.0])
    # unit ranks: 0, 0.5, 1 and 1, 0.25, 0.25
    torch.testing.assert_close(rank_average([first, second], [3, 1]), torch.tensor([0.25, 0.4375, 0.8125], dtype=torch.float64))


def test_what_is_not_finite_anywhere_is_nan_and_does_not_count():
    first = torch.tensor([1.0, math.nan, 2.0, 3.0])
    second = torch.tensor([1.0, 5.0, math.inf, 0.0])
    joined = rank_average([first, second], [1, 0])
    assert joined.isnan().tolist() == [False, True, True, False]
    assert joined[0] == 0
    assert joined[3] == 1


def test_a_single_image_is_in_the_middle():
    assert rank_average([torch.tensor([7.0])], [1]).tolist() == [0.5]


@pytest.mark.parametrize(
    ("badness", "weights", "match"),
    [
        ([], [], "one weight for each"),
        ([torch.zeros(2)], [1, 1], "one weight for each"),
        ([torch.zeros(2), torch.zeros(3)], [1, 1], "shape"),
        ([torch.zeros(2, 1)], [1], "shape"),
        ([torch.zeros(2)], [0], "not all 0"),
        ([torch.zeros(2)], [-1], "0 or more"),
        ([torch.zeros(2)], [math.nan], "0 or more"),
    ],
)
def test_bad_input_is_a_sentence(badness, weights, match):
    with pytest.raises(ValueError, match=match):
        rank_average(badness, weights)
