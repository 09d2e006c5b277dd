"""AUROC, rank correlation and bootstrap, against scikit-learn, scipy and plain counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from references_metrics import pairs_won
from uncertainty_nodes.core.metrics.scores import Undefined, auroc, bootstrap_interval, spearman

pairs = st.lists(st.tuples(st.integers(-4, 4).map(float), st.booleans()), min_size=2, max_size=40)


def split(rows):
    badness, bad = (torch.tensor(column) for column in zip(*rows, strict=True))
    assume(bad.any() and not bad.all())
    return badness, bad


@given(pairs)
def test_auroc_is_scikit_learns_and_a_count_of_pairs(rows):
    badness, bad = split(rows)
    assert auroc(badness, bad) == pytest.approx(roc_auc_score(bad.numpy(), badness.numpy()))
    assert auroc(badness, bad) == pytest.approx(pairs_won(badness.tolist(), bad.tolist()))


@given(pairs)
def test_auroc_ignores_scale_and_flips_with_the_sign(rows):
    badness, bad = split(rows)
    assert auroc(badness.exp(), bad) == pytest.approx(auroc(badness, bad))
    assert auroc(-badness, bad) == pytest.approx(1 - auroc(badness, bad))
    assert auroc(badness, ~bad) == pytest.approx(1 - auroc(badness, bad))


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=2, max_size=40))
def test_spearman_is_scipys(rows):
    a, b = (torch.tensor(column, dtype=torch.float32) for column in zip(*rows, strict=True))
    assume(a.unique().numel() > 1 and b.unique().numel() > 1)
    assert spearman(a, b) == pytest.approx(spearmanr(a.numpy(), b.numpy()).statistic)
    assert spearman(-a, b) == pytest.approx(-spearman(a, b))


def mean(x):
    return float(x.mean())


def test_bootstrap_of_a_mean_is_the_normal_interval():
    x = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    half = 1.96 * float(x.std()) / math.sqrt(len(x))
    low, high = bootstrap_interval(mean, x, seed=1)
    # 1,000 resamples leave about 5 % of error in each end
    assert low == pytest.approx(mean(x) - half, abs=0.15 * half)
    assert high == pytest.approx(mean(x) + half, abs=0.15 * half)
    inner = bootstrap_interval(mean, x, seed=1, percent=50)
    assert low < inner.low < inner.high < high


def test_bootstrap_repeats_by_seed_and_leaves_the_hosts_random_state():
    x = torch.arange(20.0)
    state = torch.get_rng_state()
    first = bootstrap_interval(mean, x, seed=1, resamples=50)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == bootstrap_interval(mean, x, seed=1, resamples=50)
    assert first != bootstrap_interval(mean, x, seed=2, resamples=50)


def test_bootstrap_resamples_together_and_skips_what_has_no_value():
    badness = torch.tensor([1.0, 2.0, 3.0, 4.0])
    # apart from each other they would not stay perfect
    assert bootstrap_interval(auroc, badness, badness > 3.5, resamples=200) == (1.0, 1.0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_bootstrap_interval_holds_the_auroc(seed):
    generator = torch.Generator().manual_seed(seed)
    bad = torch.rand(80, generator=generator) < 0.3
    badness = torch.randn(80, generator=generator) + bad
    low, high = bootstrap_interval(auroc, badness, bad, seed=seed, resamples=200)
    assert low <= auroc(badness, bad) <= high


NAN = torch.tensor([0.0, math.nan])


@pytest.mark.parametrize(
    ("error", "call", "match"),
    [
        (ValueError, lambda: auroc(torch.zeros(3), torch.ones(2, dtype=torch.bool)), r"shapes \(3,\) and \(2,\)"),
        (ValueError, lambda: auroc(torch.zeros(0), torch.zeros(0)), "at least 1"),
        (ValueError, lambda: auroc(NAN, torch.tensor([True, False])), "finite"),
        (Undefined, lambda: auroc(torch.zeros(2), torch.tensor([True, True])), "got 2 bad and 0 good"),
        (ValueError, lambda: spearman(torch.zeros(2), NAN), "finite"),
        (Undefined, lambda: spearman(torch.zeros(2), torch.arange(2.0)), "only equal ones"),
        (ValueError, lambda: bootstrap_interval(mean), "one length"),
        (ValueError, lambda: bootstrap_interval(mean, torch.zeros(0)), "at least 1"),
        (ValueError, lambda: bootstrap_interval(mean, torch.zeros(2), torch.zeros(3)), "one length"),
        (ValueError, lambda: bootstrap_interval(mean, torch.zeros(2), percent=101), "percent must be between"),
        (Undefined, lambda: bootstrap_interval(auroc, torch.zeros(2), torch.ones(2)), "only 0 of 1000 resamples"),
    ],
)
def test_bad_input_is_a_sentence(error, call, match):
    with pytest.raises(error, match=match):
        call()


def test_undefined_is_a_value_error():
    assert issubclass(Undefined, ValueError)
    assert np.isfinite(auroc(torch.tensor([0.0, 1.0]), torch.tensor([False, True])))
