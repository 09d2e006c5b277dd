"""Bootstraps hold what they say, from the data alone, and the same for the same seed."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertainty_nodes.core.ensemble.bootstrap import bootstraps, limit_classes
from uncertainty_nodes.core.options import Bootstrap, BootstrapOptions

LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 0, 0, 2, 2])  # 5, 3 and 4 of the classes
DISJOINT = Bootstrap.DISJOINT
FEWER = "there are: use fewer members or samples, or give more data."


def test_binned_classes_keep_as_many_as_asked():
    kept = limit_classes(LABELS, {0: 2, 2: 1}, seed=3)
    assert Counter(LABELS[kept].tolist()) == {0: 2, 1: 3, 2: 1}
    assert kept.tolist() == sorted(set(kept.tolist()))


def test_a_smaller_bin_is_a_part_of_a_larger_one():
    small, large = (set(limit_classes(LABELS, {0: count}, seed=1).tolist()) for count in (2, 4))
    assert small < large
    assert any(set(limit_classes(LABELS, {0: 2}, seed=s).tolist()) != small for s in range(2, 6))


@pytest.mark.parametrize(
    ("labels", "counts", "sentence"),
    [
        (LABELS, {0: 6}, "The count of class 0 must be between 1 and 5, got 6."),
        (LABELS, {1: 0}, "The count of class 1 must be between 1 and 3, got 0."),
        (LABELS, {7: 1}, "No sample is of class 7: leave it out of the counts, or give samples of it."),
        (torch.zeros(3, 2).long(), {}, "labels must be a list of classes 0, 1, ..., one for each sample, got shape (3, 2)."),
    ],
)
def test_bins_that_cannot_be(labels, counts, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        limit_classes(labels, counts)


@given(count=st.integers(1, 40), members=st.integers(1, 6), seed=st.integers(0, 2**64 - 1))
def test_drawn_with_replacement(count, members, seed):
    found = bootstraps(count, members, BootstrapOptions(seed=seed))
    assert [len(rows) for rows in found] == [count] * members
    assert all(int(rows.min()) >= 0 and int(rows.max()) < count for rows in found)
    again = bootstraps(count, members + 1, BootstrapOptions(seed=seed))
    assert all(torch.equal(a, b) for a, b in zip(found, again[:-1], strict=True))


def test_a_bootstrap_misses_as_many_as_theory_says():
    count = 4000
    for rows in bootstraps(count, 3):
        assert 1 - len(rows.unique()) / count == pytest.approx((1 - 1 / count) ** count, abs=0.02)


def test_members_and_seeds_differ():
    first, second = bootstraps(50, 2)
    assert not torch.equal(first, second)
    assert not torch.equal(first, bootstraps(50, 1, BootstrapOptions(seed=1))[0])


@given(count=st.integers(2, 40), members=st.integers(1, 6))
def test_disjoint_ones_share_nothing(count, members):
    if members > count:
        return
    rows = torch.cat(bootstraps(count, members, BootstrapOptions(DISJOINT)))
    assert len(rows) == members * (count // members) == len(rows.unique())


@pytest.mark.parametrize("kind", Bootstrap)
def test_each_class_is_drawn_by_itself(kind):
    labels = LABELS.repeat(4)
    for rows in bootstraps(len(labels), 3, BootstrapOptions(kind), labels):
        share = 3 if kind is DISJOINT else 1
        assert Counter(labels[rows].tolist()) == {0: 20 // share, 1: 12 // share, 2: 16 // share}


def test_a_class_of_one_sample_stays_in_every_bootstrap():
    labels = torch.tensor([0] * 9 + [1])
    assert all(9 in rows for rows in bootstraps(10, 4, BootstrapOptions(size=5), labels))


@pytest.mark.parametrize(
    ("count", "members", "options", "labels", "sentence"),
    [
        (10, 2, BootstrapOptions(size=11), None, f"A bootstrap of 11 samples can't come of the 10 that {FEWER}"),
        (10, 4, BootstrapOptions(DISJOINT, size=3), None, f"4 disjoint bootstraps of 3 samples can't come of the 10 that {FEWER}"),
        (3, 5, BootstrapOptions(DISJOINT), None, f"5 disjoint bootstraps of 1 samples can't come of the 3 that {FEWER}"),
        (12, 4, BootstrapOptions(DISJOINT), LABELS, "Class 1 has 3 samples, too few for 4 disjoint bootstraps: draw with replacement."),
        (5, 2, BootstrapOptions(), LABELS, "labels must hold one class for each of 5 samples, got 12."),
        (0, 2, BootstrapOptions(), None, "samples must be at least 1, got 0."),
        (5, 0, BootstrapOptions(), None, "members must be between 1 and 1024, got 0."),
    ],
)  # fmt: skip
def test_bootstraps_that_cannot_be(count, members, options, labels, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        bootstraps(count, members, options, labels)
