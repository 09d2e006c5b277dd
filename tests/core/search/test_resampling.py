"""Systematic resampling against a naive walk along the weights and its known expectation."""

from __future__ import annotations

import math

import pytest
import torch

from uncertainty_nodes.core.search.resampling import place_copies, systematic_counts, weigh


def naive_counts(weights: list[float], count: int, start: float) -> list[int]:
    counts, edge = [], 0.0
    for w in weights:
        counts.append(sum(edge <= (start + k) / count < edge + w for k in range(count)))
        edge += w
    return counts


@pytest.mark.parametrize("count", [1, 3, 8, 20])
def test_counts_are_those_of_a_walk_along_the_weights(count):
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        weights = torch.rand(7, generator=generator, dtype=torch.float64)
        weights /= weights.sum()
        start = float(torch.rand((), generator=generator, dtype=torch.float64))
        found = systematic_counts(weights, count, start)
        assert found.tolist() == naive_counts(weights.tolist(), count, start)
        assert found.sum() == count
        assert all(math.floor(count * w) <= c <= math.ceil(count * w) for w, c in zip(weights.tolist(), found.tolist(), strict=True))


def test_expected_counts_are_in_proportion_to_the_weights():
    weights = torch.tensor([0.05, 0.5, 0.11, 0.34], dtype=torch.float64)
    starts = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    mean = torch.stack([systematic_counts(weights, 6, float(u)) for u in starts]).double().mean(dim=0)
    torch.testing.assert_close(mean, 6 * weights, atol=2e-3, rtol=0)


def test_a_weight_of_nothing_is_never_drawn():
    for start in (0.0, 0.5, 0.999999):
        assert systematic_counts(torch.tensor([0.0, 1.0, 0.0]), 4, start).tolist() == [0, 4, 0]


def test_weights():
    badness = torch.tensor([1.0, 3.0, math.nan, 2.0])
    z = torch.tensor([-1.0, 1.0, 0.0], dtype=torch.float64) * math.sqrt(3 / 2)
    expected = torch.exp(-2 * z) / torch.exp(-2 * z).sum()
    torch.testing.assert_close(weigh(badness, 2.0)[[0, 1, 3]], expected)
    assert weigh(badness, 2.0)[2] == 0
    assert weigh(torch.full((4,), 0.1), 2.0).tolist() == [0.25] * 4
    assert weigh(torch.full((2,), math.nan), 2.0).tolist() == [0.5] * 2
    torch.testing.assert_close(weigh(1e6 * badness + 7, 2.0), weigh(badness, 2.0))  # in whatever units


def test_copies_take_the_rows_that_were_not_drawn():
    assert place_copies(torch.tensor([0, 2, 0, 1])) == ((0, 1, 3), (1, 1, 3))
    assert place_copies(torch.tensor([0, 0, 4, 0])) == ((0, 1, 2, 3), (2, 2, 2, 2))
    assert place_copies(torch.tensor([1, 1, 1])) == ((0, 1, 2), (0, 1, 2))
    assert place_copies(torch.tensor([0, 1, 0])) == ((1,), (1,))
