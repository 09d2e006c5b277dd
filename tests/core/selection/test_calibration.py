"""Earlier scores as a yardstick, against numpy and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from scipy.stats import percentileofscore

from uncertainty_nodes.core.files import save_tensors
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.selection.calibration import Calibration

HIGH, LOW = Direction.HIGH_IS_BAD, Direction.LOW_IS_BAD
values = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30)


def fit(scores, direction=HIGH, quantity="denoised"):
    return Calibration.fit([torch.as_tensor(scores)], direction, quantity, [{"model": "tiny"}])


@given(values, st.floats(0, 100))
def test_threshold_is_numpys_percentile_of_badness(scores, percent):
    assert fit(scores).threshold_at(percent) == pytest.approx(np.percentile(scores, percent))
    assert fit(scores, LOW).threshold_at(percent) == pytest.approx(-np.percentile(-np.array(scores), percent))


@given(values, st.integers(-6, 6))
def test_percentile_is_scipys_mean_percentile_of_badness(scores, score):
    assert fit(scores).percentile_of(score) == pytest.approx(percentileofscore(scores, score, kind="mean"))
    assert fit(scores, LOW).percentile_of(score) == pytest.approx(percentileofscore(-np.array(scores), -score, kind="mean"))


def test_runs_join_in_any_order_and_what_is_not_finite_is_left_out():
    runs = [torch.tensor([3.0, math.nan]), torch.tensor([1.0, math.inf, 2.0], dtype=torch.float16)]
    assert Calibration.fit(runs, HIGH, "denoised").scores.tolist() == [1, 2, 3]
    merged = fit([2.0, 9.0]).merge(fit([4.0]))
    assert merged.scores.tolist() == [2, 4, 9]
    assert merged.provenance == ({"model": "tiny"},) * 2
    assert len(merged) == 3


def test_save_and_load(tmp_path):
    before = fit(torch.rand(7), LOW, "noise")
    before.save(tmp_path / "c.safetensors")
    after = Calibration.load(tmp_path / "c.safetensors")
    assert torch.equal(after.scores, before.scores)
    assert (after.direction, after.quantity, after.provenance) == (LOW, "noise", ({"model": "tiny"},))


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({}, {"direction": "high_is_bad", "quantity": "denoised", "provenance": []}),
        ({"scores": torch.zeros(1)}, {}),
        ({"scores": torch.zeros(1)}, {"direction": "sideways", "quantity": "denoised", "provenance": []}),
        ({"scores": torch.tensor([2.0, 1.0])}, {"direction": "high_is_bad", "quantity": "denoised", "provenance": []}),
        ({"scores": torch.tensor([math.nan])}, {"direction": "high_is_bad", "quantity": "denoised", "provenance": []}),
    ],
)
def test_a_file_with_other_contents_is_refused(tmp_path, tensors, metadata):
    save_tensors(tmp_path / "c", tensors, "calibration", 1, metadata)
    with pytest.raises(ValueError, match="calibration|sideways"):
        Calibration.load(tmp_path / "c")


def test_a_foreign_file_is_refused(tmp_path):
    save_file({"scores": torch.zeros(3)}, tmp_path / "c")
    with pytest.raises(ValueError, match="another program"):
        Calibration.load(tmp_path / "c")


@pytest.mark.parametrize("scores", [[], [torch.empty(0)], [torch.tensor([math.nan])]])
def test_nothing_to_calibrate_with(scores):
    with pytest.raises(ValueError, match="nothing to calibrate with"):
        Calibration.fit(scores, HIGH, "denoised")


@pytest.mark.parametrize("other", [fit([1.0], LOW), fit([1.0], HIGH, "noise")])
def test_other_kinds_of_scores_are_refused(other):
    with pytest.raises(ValueError, match="calibrate again"):
        fit([1.0]).merge(other)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: fit(torch.zeros(2, 2)), "shape"),
        (lambda: fit([1.0]).threshold_at(101), "between 0 and 100, got 101"),
        (lambda: fit([1.0]).percentile_of(math.nan), "finite number, got nan"),
        (lambda: Calibration(torch.tensor([2.0, 1.0]), HIGH, "denoised"), "ascending"),
    ],
)
def test_bad_input_is_a_sentence(call, match):
    with pytest.raises(ValueError, match=match):
        call()
