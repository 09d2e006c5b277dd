"""Streaming percentiles per step, against numpy's on everything at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uncertainty_nodes.core.files import save_tensors
from uncertainty_nodes.core.guidance.step_thresholds import MAX_STEPS, StepThresholds


def maps(seed, scale=1.0, count=4):
    return scale * torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)).square()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e6), st.floats(0, 100))
def test_percentiles_are_numpys_to_one_bin(seed, scale, percent):
    thresholds = StepThresholds("noise")
    batches = [maps(seed + i, scale) for i in range(3)]
    for batch in batches:
        thresholds.add(2.0, batch)
    everything = torch.cat(batches).numpy()
    ((sigma, threshold),) = thresholds.table(percent)
    # one bin is 1.1 % wide; the neighbouring percents allow for rounding of the rank that is wanted
    around = np.clip([percent - 1e-6, percent + 1e-6], 0, 100)
    low, high = np.percentile(everything, around, method="inverted_cdf")
    assert sigma == 2.0
    assert low / 1.012 <= threshold <= high * 1.012


def test_steps_stay_apart_and_run_from_noisy_to_clean():
    thresholds = StepThresholds("noise")
    for sigma in (0.5, 8.0, 0.5 * (1 + 1e-6), 3.0):
        thresholds.add(sigma, torch.full((1, 1, 2, 2), sigma))
    table = thresholds.table(95)
    assert [sigma for sigma, _ in table] == [8.0, 3.0, 0.5]
    np.testing.assert_allclose([t for _, t in table], [8.0, 3.0, 0.5], rtol=0.012)
    assert sum(int(c.sum()) for c in thresholds.counts.values()) == 16


def test_order_and_machines_do_not_matter(tmp_path):
    whole, first, second = (StepThresholds("noise") for _ in range(3))
    for seed, part in enumerate([first, second, first]):
        for sigma in (4.0, 1.0):
            whole.add(sigma, maps(seed))
            part.add(sigma, maps(seed))
    second.save(tmp_path / "t")
    first.merge(StepThresholds.load(tmp_path / "t"))
    assert first.table(95) == whole.table(95)
    assert first.table(50) == whole.table(50)


def test_extremes_count_and_what_is_not_finite_does_not():
    thresholds = StepThresholds("noise")
    thresholds.add(1.0, torch.tensor([[0.0, 1e-30, 1e30], [1.0, math.nan, 1.0], [1.0, 1.0, math.inf]]))
    (counts,) = thresholds.counts.values()
    assert int(counts.sum()) == 3
    assert int(counts[0]) == 2
    assert int(counts[-1]) == 1


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda t: t.add(0.0, maps(0)), "sigma must be a positive number, got 0.0"),
        (lambda t: t.add(math.nan, maps(0)), "positive number"),
        (lambda t: t.add(1.0, -maps(0)), "cannot be negative"),
        (lambda t: t.table(95), "No thresholds were collected"),
        (lambda t: t.table(-1), "between 0 and 100"),
        (lambda t: t.merge(StepThresholds("denoised")), "cannot be joined"),
        (lambda t: [t.add(1.01**i, torch.ones(1, 1)) for i in range(MAX_STEPS + 1)], "one schedule"),
    ],
)
def test_bad_input_is_a_sentence(call, match):
    with pytest.raises(ValueError, match=match):
        call(StepThresholds("noise"))


def test_a_file_with_other_contents_is_refused(tmp_path):
    save_tensors(tmp_path / "t", {"sigmas": torch.ones(2), "counts": torch.ones(2, 3)}, "step thresholds", 1, {"quantity": "noise"})
    with pytest.raises(ValueError, match="is not a whole saved step thresholds"):
        StepThresholds.load(tmp_path / "t")
