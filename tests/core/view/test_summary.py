"""A result in plain numbers: JSON-ready, aligned with the batch, with a line only where one parts the sides."""

from __future__ import annotations

import csv
import json

import pytest
import torch

from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.core.view.summary import csv_table, dividing_line, histogram, summarize, summarize_scores

HIGH, LOW = Direction.HIGH_IS_BAD, Direction.LOW_IS_BAD


def result(scores, direction=HIGH):
    scores = torch.tensor(scores)
    curve = torch.stack([scores, 2 * scores])
    return Uncertainty(
        torch.zeros(len(scores), 1, 2, 2), scores, curve, torch.tensor([2.0, 1.0]), direction, "denoised", 5.0, 0.5, {"a": "b"}
    )


def test_a_summary_is_json_and_keeps_the_order_of_the_batch():
    s = json.loads(json.dumps(summarize(result([0.5, float("nan"), 0.25]), accepted=[2]), allow_nan=False))
    assert (s["scores"], s["ranks"], s["accepted"]) == ([0.5, None, 0.25], [2, 3, 1], [2])
    assert s["curve"] == [[0.5, 1.0], [None, None], [0.25, 0.5]]
    assert (s["sigmas"], s["nfe"], s["seconds"], s["provenance"]["a"]) == ([2.0, 1.0], 5.0, 0.5, "b")
    assert s["provenance"]["failed"] == s["failed"] and s["failed"].startswith("Image 2 of 3 failed")
    assert s["line"] == 0.375


def test_where_low_is_bad_the_highest_is_first():
    assert summarize_scores(torch.tensor([1.0, 3.0, 2.0]), LOW, "noise")["ranks"] == [3, 1, 2]
    assert summarize_scores(torch.tensor([1.0, 3.0]), LOW, "noise")["failed"] is None


@pytest.mark.parametrize(
    ("direction", "accepted", "line"),
    [(HIGH, [0, 1], 2.5), (LOW, [2, 3], 2.5), (HIGH, [0, 2], None), (LOW, [0], None), (HIGH, [], None), (HIGH, [0, 1, 2, 3], None)],
)
def test_a_line_only_where_one_parts_the_sides(direction, accepted, line):
    assert dividing_line(torch.tensor([1.0, 2.0, 3.0, 4.0]), direction, accepted) == line


def test_a_given_line_is_kept():
    assert summarize_scores(torch.tensor([1.0, 2.0]), HIGH, "denoised", [0], line=1.25)["line"] == 1.25


@pytest.mark.parametrize("count", [1, 7, 300])
def test_every_finite_score_is_in_one_bin_of_its_side(count):
    scores = torch.randn(count).double()
    scores[0] = torch.nan if count > 1 else 0.0
    h = histogram(scores, range(0, count, 2))
    assert sum(h["kept"]) == len(range(0, count, 2)) - (count > 1)
    assert sum(h["dropped"]) == count // 2
    assert len(h["edges"]) == len(h["kept"]) + 1 == len(h["dropped"]) + 1
    assert all(a < b for a, b in zip(h["edges"], h["edges"][1:], strict=False))


def test_equal_scores_stand_in_the_middle():
    h = histogram(torch.tensor([0.2, 0.2]).double(), None)
    assert (h["edges"][0], h["edges"][-1]) == pytest.approx((0.1, 0.3))
    assert h["kept"] == [0, 0, 2, 0, 0]


def test_nothing_finite_has_no_bins():
    assert histogram(torch.tensor([torch.nan]), None) == {"edges": [], "kept": [], "dropped": []}


def test_the_table_can_be_read_back():
    rows = list(csv.DictReader(csv_table(summarize(result([0.1, float("inf"), 0.3]), accepted=[0])).splitlines()))
    assert [r["accepted"] for r in rows] == ["yes", "no", "no"]
    assert [r["score"] for r in rows] == [repr(float(torch.tensor(0.1))), "", repr(float(torch.tensor(0.3)))]
    assert [(r["image"], r["rank"]) for r in rows] == [("0", "1"), ("1", "3"), ("2", "2")]
    assert {r["accepted"] for r in csv.DictReader(csv_table(summarize(result([0.1, 0.2]))).splitlines())} == {""}
