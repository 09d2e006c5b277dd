"""Which images are borderline, against hand-counted cases and a naive loop, and what moving them does to a decision."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertainty_nodes.core.options import Direction, FilterRule
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.core.selection.filtering import decide
from uncertainty_nodes.core.selection.unsure import find_borderline, settle
from uncertainty_nodes.core.view.verdict import list_verdicts

HIGH, LOW = Direction.HIGH_IS_BAD, Direction.LOW_IS_BAD
DROP, KEEP, THRESHOLD, CALIBRATED = list(FilterRule)[:4]
SCORES = torch.tensor([0.4, 0.1, 0.3, 0.2])
HISTORY = Calibration.fit([torch.linspace(0, 1, 101)], HIGH, "denoised")


def near(rule: FilterRule, value: float, band: float, scores=SCORES, direction=HIGH, history=None) -> tuple[int, ...]:
    decision = decide(scores, direction, rule, value, history, quantity="denoised")
    return find_borderline(scores, decision, rule, value, band, history)


@pytest.mark.parametrize(
    ("rule", "value", "band", "found"),
    [
        (DROP, 50, 12.4, ()),  # the nearest of 4 images are 12.5 % of the batch away
        (DROP, 50, 12.5, (2, 3)),
        (DROP, 50, 37.5, (0, 1, 2, 3)),
        (DROP, 0, 12.5, (0,)),  # the line lies behind the last
        (KEEP, 1, 12.5, (1, 3)),
        (KEEP, 0, 12.5, (1,)),
        (THRESHOLD, 0.25, 19.9, ()),
        (THRESHOLD, 0.25, 20.1, (2, 3)),  # 0.2 and 0.3 are 20 % of 0.25 away
        (THRESHOLD, 0.0, 50, ()),
    ],
)
def test_what_is_near_the_line(rule, value, band, found):
    assert near(rule, value, band) == found
    mirrored = find_borderline(-SCORES, decide(-SCORES, LOW, rule, -value if rule is THRESHOLD else value), rule, value, band)
    assert mirrored == found


def test_earlier_scores_are_what_a_calibrated_line_is_measured_by():
    assert near(CALIBRATED, 25, 4, history=HISTORY) == ()
    assert near(CALIBRATED, 25, 6, history=HISTORY) == (2, 3)
    assert near(THRESHOLD, 0.25, 6, history=HISTORY) == (2, 3)


@given(
    st.lists(st.one_of(st.floats(-3, 3), st.just(math.nan), st.just(math.inf)), min_size=1, max_size=10),
    st.sampled_from([DROP, KEEP, THRESHOLD]),
    st.floats(0, 100),
    st.floats(0, 100),
)
def test_a_wider_band_holds_a_narrower_one_and_no_failed_image(scores, rule, value, band):
    scores = torch.tensor(scores)
    value = float(round(value)) if rule is KEEP else value
    narrow, wide = near(rule, value, band / 2, scores), near(rule, value, band, scores)
    assert set(narrow) <= set(wide)
    assert all(math.isfinite(scores[i]) for i in wide)


@pytest.mark.parametrize("band", [-1.0, 101.0, math.nan])
def test_a_band_out_of_range_is_refused(band):
    with pytest.raises(ValueError, match="band must be"):
        near(DROP, 50, band)


def test_images_move_and_their_reasons_say_why():
    before = decide(SCORES, HIGH, KEEP, 2)
    after = settle(before, accept=[2], reject=[3], set_aside=[0], why="in a review")
    assert (after.accepted, after.rejected, after.unsure) == ((1, 2), (3,), (0,))
    assert after.reasons[2].startswith("Accepted in a review: score 0.3, rank 3 of 4, not among the best 2")
    assert after.reasons[0].startswith("Unsure in a review: score 0.4") and after.reasons[1] == before.reasons[1]
    again = settle(after, accept=[0], why="later")
    assert again.accepted == (0, 1, 2) and again.unsure == () and again.reasons[0].startswith("Accepted later: score 0.4")
    assert settle(before) == before


@pytest.mark.parametrize("sides", [{"accept": [1], "reject": [1]}, {"set_aside": [4]}])
def test_an_image_can_be_moved_to_one_side_only(sides):
    with pytest.raises(ValueError, match="moved to one side only"):
        settle(decide(SCORES, HIGH, KEEP, 2), **sides)


def test_verdicts_are_plain_values():
    scores = torch.tensor([0.4, math.nan, 0.25, 0.5])
    decision = settle(decide(scores, HIGH, KEEP, 2), set_aside=[0], why="near the line")
    found = list_verdicts(decision, scores, HIGH, "denoised", seeds=[7, 8, 9, 10])
    assert [v["accepted"] for v in found] == [None, False, True, False]
    assert found[1] == {
        "image": 1,
        "path": None,
        "score": None,
        "quantity": "denoised",
        "direction": "high_is_bad",
        "accepted": False,
        "seed": 8,
        "why": "Rejected: score nan, rank 4 of 4, a score is not a finite number.",
    }
    assert [v["seed"] for v in list_verdicts(decision, scores, HIGH, "denoised")] == [None] * 4
    assert [v["path"] for v in list_verdicts(decision, scores, HIGH, "denoised", paths=list("abcd"))] == list("abcd")
