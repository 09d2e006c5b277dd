"""The limit that labelled images allow, against scipy, a loop written out, and the promise itself over many draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from uncertainty_nodes.core.options import Direction, FilterRule
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.core.selection.filtering import decide
from uncertainty_nodes.core.selection.risk import fewest_labels, labels_needed, p_value, risk_limit

HIGH, LOW = Direction.HIGH_IS_BAD, Direction.LOW_IS_BAD
BASE, APART = 0.1, 1.7  # share of bad images, and how far their scores lie above those of good ones


def drawn(rng, count, base=BASE, apart=APART):
    bad = rng.random(count) < base
    return torch.tensor(rng.normal(size=count) + apart * bad), torch.tensor(bad)


def history(badness, bad, direction=HIGH):
    scores = badness if direction is HIGH else -badness
    return Calibration.fit([scores], direction, "denoised").label(scores, bad)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.001, 0.9))
def test_p_value_is_the_binomial_tail(counts, alpha):
    assert p_value(*counts, alpha) == pytest.approx(binom.cdf(*counts, alpha), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize(("alpha", "delta", "count"), [(0.05, 0.05, 59), (0.1, 0.1, 22), (0.02, 0.05, 149), (0.5, 0.5, 1)])
def test_the_fewest_labels_are_the_rule_of_three(alpha, delta, count):
    assert fewest_labels(alpha, delta) == count
    assert (1 - alpha) ** count <= delta + 1e-12 < (1 - alpha) ** (count - 1)


@pytest.mark.parametrize(("count", "alpha"), [(60, 0.05), (200, 0.05), (200, 0.1), (1000, 0.02), (1000, 0.1)])
def test_the_limit_is_that_of_the_steps_written_out(count, alpha):
    badness, bad = drawn(np.random.default_rng(count), count)
    images = sorted(zip(badness.tolist(), bad.tolist(), strict=True))
    starts = [(max(count // 8, fewest_labels(alpha, 0.01)), 0.01), (max(count // 2, fewest_labels(alpha, 0.04)), 0.04)]
    if starts[0][0] >= starts[1][0]:
        starts = [(max(count // 2, fewest_labels(alpha, 0.05)), 0.05)]
    limits = []
    for start, level in starts:
        for k in range(start, count + 1):
            if binom.cdf(sum(b for _, b in images[:k]), k, alpha) > level:
                break
            limits.append(images[k - 1][0])
    limit = max(limits, default=None)
    found = risk_limit(badness, bad, alpha, 0.95)
    assert found.limit == limit
    assert (found.labels, found.passing) == (count, 0 if limit is None else sum(b <= limit for b, _ in images))
    assert found.bad == sum(b for value, b in images if limit is not None and value <= limit)


@pytest.mark.parametrize(("alpha", "apart"), [(0.05, APART), (0.05, 0.0), (0.1, 0.0), (0.2, APART)])
def test_the_promise_holds_in_as_many_draws_as_it_says(alpha, apart):
    rng, splits, confidence, base = np.random.default_rng(1), 300, 0.9, 0.15

    def share_bad(limit):
        passing_bad, passing_good = base * norm.cdf(limit - apart), (1 - base) * norm.cdf(limit)
        return passing_bad / (passing_bad + passing_good)

    limits = [risk_limit(*drawn(rng, 200, base, apart), alpha, confidence).limit for _ in range(splits)]
    kept = np.mean([limit is None or share_bad(limit) <= alpha for limit in limits])
    assert kept >= confidence - 2 * math.sqrt(confidence * (1 - confidence) / splits)
    if apart:
        assert any(limit is not None for limit in limits)


def test_a_bad_image_among_the_best_does_not_end_it_all():
    """Half of the bad images score as well as good ones: from the better half of 200 labels the promise is found all the same."""
    rng, found = np.random.default_rng(2), []
    for _ in range(60):
        bad = rng.random(200) < 0.08
        badness = rng.normal(size=200) + 3.0 * (bad & (rng.random(200) < 0.5))
        found.append(risk_limit(torch.tensor(badness), torch.tensor(bad), 0.1, 0.95).limit)
    assert sum(limit is not None for limit in found) >= 30


def test_equal_scores_pass_together():
    badness, bad = torch.tensor([0.0] * 50 + [1.0] * 50), torch.tensor([False] * 95 + [True] * 5)
    found = risk_limit(badness, bad, 0.1, 0.95)
    assert (found.limit, found.passing, found.bad) == (0.0, 50, 0)  # 5 bad ones of 100 are too many
    found = risk_limit(badness, bad, 0.2, 0.95)
    assert (found.limit, found.passing, found.bad) == (1.0, 100, 5)


def test_failed_images_count_for_nothing():
    badness, bad = drawn(np.random.default_rng(3), 200)
    more = torch.cat([badness, torch.tensor([math.nan, math.inf])]), torch.cat([bad, torch.tensor([True, False])])
    assert risk_limit(*more, 0.1, 0.95) == risk_limit(badness, bad, 0.1, 0.95)


def test_too_few_labels_tell_how_many_are_needed():
    good = torch.zeros(30, dtype=torch.bool)
    assert labels_needed(torch.arange(30.0), good, 0.05, 0.95) == 59
    assert labels_needed(torch.arange(0.0), good[:0], 0.05, 0.95) == 59
    labels = drawn(np.random.default_rng(0), 50)
    mixed = history(*labels)
    with pytest.raises(ValueError, match=r"50 labelled images are too few .* at most 5 % .* 95 % confidence; about \d+ are needed"):
        mixed.risk_threshold(5.0, 95.0)
    needed = labels_needed(*labels, 0.05, 0.95)
    draws = [risk_limit(*drawn(np.random.default_rng(i), needed), 0.05, 0.95).limit for i in range(20)]
    assert sum(limit is not None for limit in draws) >= 5  # a guess of the right size


def test_no_number_of_labels_helps_a_score_that_knows_nothing():
    alternating = torch.tensor([True, False] * 50)
    with pytest.raises(ValueError, match="more like them would not"):
        history(torch.arange(100.0), alternating).risk_threshold(10.0, 95.0)


@pytest.mark.parametrize("direction", [HIGH, LOW])
def test_the_filter_accepts_up_to_the_limit(direction):
    badness, bad = drawn(np.random.default_rng(5), 300)
    labels = history(badness, bad, direction)
    threshold = labels.risk_threshold(10.0, 95.0)
    side = 1 if direction is HIGH else -1
    scores = torch.tensor([threshold - side * 0.1, threshold, threshold + side * 0.1], dtype=torch.float64)
    decision = decide(scores, direction, FilterRule.AT_MOST_BAD, 10.0, labels, quantity="denoised")
    assert decision.accepted == (0, 1)
    assert decision.threshold == threshold
    assert "at most 10 % bad, 95 % sure from 300 labels" in decision.reasons[0]
    with pytest.raises(ValueError, match="'at_most_bad' needs a calibration"):
        decide(scores, direction, FilterRule.AT_MOST_BAD, 10.0)
    with pytest.raises(ValueError, match="percent of bad images"):
        decide(scores, direction, FilterRule.AT_MOST_BAD, 0.0, labels, quantity="denoised")


def test_surer_is_stricter():
    labels = history(*drawn(np.random.default_rng(7), 1000))
    assert labels.risk_threshold(5.0, 99.0) < labels.risk_threshold(5.0, 60.0)


def test_labels_are_kept_in_the_file_and_corrected_by_later_ones(tmp_path):
    first = history(torch.tensor([1.0, 2.0, math.nan]), torch.tensor([False, False, True]))
    assert first.labelled.tolist() == [1.0, 2.0]
    joined = first.merge(history(torch.tensor([2.0, 3.0]), torch.tensor([True, False])))
    assert joined.scores.tolist() == [1.0, 2.0, 3.0]  # 2 came again to be labelled
    assert sorted(zip(joined.labelled.tolist(), joined.bad.tolist(), strict=True)) == [(1.0, False), (2.0, True), (3.0, False)]
    joined.save(tmp_path / "c.safetensors")
    loaded = Calibration.load(tmp_path / "c.safetensors")
    assert torch.equal(loaded.labelled, joined.labelled)
    assert torch.equal(loaded.bad, joined.bad)
    assert loaded.seen == 3
