"""Every rule of the filter, its ties, its NaN and its promise to change nothing when it keeps all."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertainty_nodes.core.options import Direction, FilterRule
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.core.selection.filtering import decide

HIGH, LOW = Direction.HIGH_IS_BAD, Direction.LOW_IS_BAD
DROP, KEEP, THRESHOLD, CALIBRATED, AT_MOST_BAD = FilterRule
SCORES = torch.tensor([0.3, 0.1, 0.9, 0.5])

any_scores = st.lists(st.one_of(st.integers(-3, 3).map(float), st.just(math.nan), st.just(math.inf)), min_size=1, max_size=12)
a_history = Calibration.fit([torch.linspace(-3, 3, 50)], HIGH, "denoised")


@pytest.mark.parametrize(
    ("direction", "rule", "value", "accepted"),
    [
        (HIGH, DROP, 0, [0, 1, 2, 3]),
        (HIGH, DROP, 24.9, [0, 1, 2, 3]),  # floor(4 * 0.249) = 0
        (HIGH, DROP, 25, [0, 1, 3]),
        (HIGH, DROP, 74, [0, 1]),
        (HIGH, DROP, 100, []),
        (LOW, DROP, 50, [2, 3]),
        (HIGH, KEEP, 0, []),
        (HIGH, KEEP, 2, [0, 1]),
        (LOW, KEEP, 1, [2]),
        (HIGH, KEEP, 99, [0, 1, 2, 3]),
        (HIGH, THRESHOLD, 0.3, [0, 1]),
        (LOW, THRESHOLD, 0.3, [0, 2, 3]),
        (HIGH, THRESHOLD, -1, []),
        (LOW, THRESHOLD, -1, [0, 1, 2, 3]),
    ],
)
def test_rules(direction, rule, value, accepted):
    decision = decide(SCORES, direction, rule, value)
    assert list(decision.accepted) == accepted
    assert list(decision.rejected) == [i for i in range(4) if i not in accepted]


@pytest.mark.parametrize(("direction", "limit", "accepted"), [(HIGH, 0.75, (0, 1, 3)), (LOW, 0.25, (0, 2, 3))])
def test_calibrated_keeps_what_is_as_good_as_that_share_of_the_history(direction, limit, accepted):
    history = Calibration.fit([torch.linspace(0, 1, 101)], direction, "denoised")
    decision = decide(SCORES, direction, CALIBRATED, 75, history, quantity="denoised")
    assert decision.accepted == accepted
    assert decision.threshold == pytest.approx(limit, abs=1e-6)
    assert decision == decide(SCORES, direction, CALIBRATED, 75, history, quantity="denoised")


def test_exact_shares_are_not_lost_to_rounding():
    assert len(decide(torch.arange(60_000.0), HIGH, DROP, 100 / 6).rejected) == 10_000


def test_ties_keep_the_lower_index():
    decision = decide(torch.tensor([1.0, 0.0, 1.0, 1.0]), HIGH, KEEP, 2)
    assert decision.accepted == (0, 1)
    assert decision.order == (1, 0, 2, 3)
    assert decision.ranks == (2, 1, 3, 4)
    assert decide(torch.full((5,), 2.0), LOW, DROP, 40).accepted == (0, 1, 2)


@pytest.mark.parametrize(("rule", "value"), [(DROP, 0), (KEEP, 9), (THRESHOLD, 1e9), (CALIBRATED, 100)])
def test_what_is_not_finite_is_last_and_never_accepted(rule, value):
    scores = torch.tensor([math.nan, 0.2, -math.inf, 0.1, math.inf])
    decision = decide(scores, HIGH, rule, value, a_history, quantity="denoised")
    assert decision.accepted == (1, 3)
    assert decision.rejected == (0, 2, 4)
    assert decision.order == (3, 1, 0, 2, 4)
    assert [("not a finite number" in reason) for reason in decision.reasons] == [True, False, True, False, True]


def test_not_finite_images_count_among_the_dropped():
    assert decide(torch.tensor([math.nan, 0.2, 0.3, 0.1]), HIGH, DROP, 50).accepted == (1, 3)


@given(any_scores, st.sampled_from(Direction), st.sampled_from(FilterRule), st.integers(0, 100))
def test_accepted_and_rejected_are_a_partition_and_accepted_are_no_worse(values, direction, rule, value):
    scores = torch.tensor(values)
    history = Calibration.fit([torch.linspace(-3, 3, 50)], direction, "denoised")
    if rule is AT_MOST_BAD:  # the others take 0 too
        history, value = history.label(torch.linspace(-3, 3, 600), torch.zeros(600, dtype=torch.bool)), 0.5 + 0.8 * value
    decision = decide(scores, direction, rule, value, history, quantity="denoised")
    assert sorted(decision.accepted + decision.rejected) == list(range(len(values)))
    assert list(decision.accepted) == sorted(decision.accepted)
    assert list(decision.rejected) == sorted(decision.rejected)
    assert sorted(decision.order) == list(range(len(values)))
    assert len(decision.reasons) == len(values)
    ranks = decision.ranks
    assert all(ranks[a] < ranks[r] for a in decision.accepted for r in decision.rejected)


@given(st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12), st.sampled_from([DROP, KEEP]), st.integers(0, 100))
def test_negated_scores_with_the_other_direction_decide_alike(values, rule, value):
    one, other = decide(torch.tensor(values), HIGH, rule, value), decide(-torch.tensor(values), LOW, rule, value)
    assert (one.accepted, one.order) == (other.accepted, other.order)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_score_passes_at_its_own_value(dtype):
    scores = torch.tensor([0.1, 0.7], dtype=dtype)
    assert decide(scores, HIGH, THRESHOLD, float(scores[1])).accepted == (0, 1)
    assert decide(torch.tensor([0.1]), HIGH, THRESHOLD, 0.1).accepted == (0,)


@pytest.mark.parametrize(("rule", "value", "threshold"), [(KEEP, 2, 0.3), (KEEP, 0, None), (DROP, 25, 0.5), (THRESHOLD, 0.4, 0.4)])
def test_threshold_is_told_in_score_units(rule, value, threshold):
    assert decide(SCORES, HIGH, rule, value).threshold == (threshold if threshold is None else pytest.approx(threshold))


def test_an_external_score_joins_by_rank_and_weight():
    beauty = torch.tensor([7.0, 2.0, 9.0, 5.0])  # high is good
    picks = [decide(SCORES, HIGH, KEEP, 1, extra_scores=beauty, extra_weight=w).accepted for w in (0.0, 0.4, 0.9, 1.0)]
    # unit ranks of badness: 1/3 0 1 2/3, of ugliness: 1/3 1 0 2/3
    assert picks == [(1,), (0,), (2,), (2,)]
    assert decide(SCORES, HIGH, KEEP, 1, extra_scores=beauty, extra_weight=1, extra_direction=HIGH).accepted == (1,)
    assert decide(SCORES, HIGH, KEEP, 1, extra_scores=beauty, extra_weight=0.5).threshold is None


def test_weight_zero_is_no_external_score():
    nan = torch.full((4,), math.nan)
    assert decide(SCORES, HIGH, DROP, 30, extra_scores=nan, extra_weight=0) == decide(SCORES, HIGH, DROP, 30)


def test_an_image_without_an_external_score_is_rejected():
    beauty = torch.tensor([7.0, math.nan, 9.0, 5.0])
    decision = decide(SCORES, HIGH, DROP, 0, extra_scores=beauty, extra_weight=0.5)
    assert decision.rejected == (1,)
    assert "not a finite number" in decision.reasons[1]


def test_reasons_are_sentences():
    decision = decide(SCORES, HIGH, THRESHOLD, 0.4)
    assert decision.reasons[0] == "Accepted: score 0.3, rank 2 of 4, not above the threshold, 0.4."
    assert decision.reasons[2] == "Rejected: score 0.9, rank 4 of 4, above the threshold, 0.4."
    assert decide(SCORES, LOW, THRESHOLD, 0.4).reasons[0] == "Rejected: score 0.3, rank 3 of 4, below the threshold, 0.4."
    assert decide(SCORES, HIGH, KEEP, 3).reasons[2] == "Rejected: score 0.9, rank 4 of 4, not among the best 3."


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"scores": torch.zeros(0)}, r"scores must be one number per image, got shape \(0,\)"),
        ({"scores": torch.zeros(2, 2)}, r"got shape \(2, 2\)"),
        ({"value": -1}, "percent to drop.* between 0 and 100, got -1"),
        ({"value": 101}, "between 0 and 100"),
        ({"value": math.nan}, "between 0 and 100, got nan"),
        ({"rule": KEEP, "value": 1.5}, "whole number, got 1.5"),
        ({"rule": KEEP, "value": -1}, "at least 0"),
        ({"rule": THRESHOLD, "value": math.nan}, "finite number, got nan"),
        ({"rule": CALIBRATED}, "needs a calibration"),
        ({"rule": CALIBRATED, "calibration": a_history}, "needs a calibration"),
        ({"rule": CALIBRATED, "calibration": a_history, "quantity": "noise"}, "holds 'denoised' scores"),
        ({"rule": CALIBRATED, "calibration": a_history, "quantity": "denoised", "value": 101}, "between 0 and 100"),
        ({"extra_scores": torch.zeros(3), "extra_weight": 0.5}, "each of the 4 images, got shape"),
        ({"extra_scores": torch.zeros(4), "extra_weight": 1.5}, "extra_weight must be between 0 and 1"),
        ({"rule": THRESHOLD, "extra_scores": torch.zeros(4), "extra_weight": 0.5}, "takes no extra scores"),
    ],
)
def test_bad_input_is_a_sentence(change, match):
    with pytest.raises(ValueError, match=match):
        decide(**({"scores": SCORES, "direction": HIGH, "rule": DROP, "value": 50} | change))
