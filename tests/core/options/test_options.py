"""Options are refused when made, in a sentence that names the input and the value seen."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from uncertainty_nodes.core import options as o

ALL_OPTIONS = [o.StepWindow, o.DrawOptions, o.AleatoricOptions, o.GuidanceOptions, o.HeatmapOptions]


@pytest.mark.parametrize("options", ALL_OPTIONS)
def test_defaults_are_valid_and_frozen(options):
    made = options()
    name = dataclasses.fields(made)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, name, getattr(made, name))
    assert made == options()
    assert hash(made) == hash(options())


@pytest.mark.parametrize(
    ("options", "name", "value", "sentence"),
    [
        (o.DrawOptions, "samples", 1, "samples must be between 2 and 1024, got 1."),
        (o.DrawOptions, "samples", 0, "samples must be between 2 and 1024, got 0."),
        (o.DrawOptions, "samples", 2.5, "samples must be a whole number, got 2.5."),
        (o.DrawOptions, "samples", True, "samples must be between 2 and 1024, got True."),
        (o.DrawOptions, "samples", "5", "samples must be between 2 and 1024, got '5'."),
        (o.DrawOptions, "samples", None, "samples must be between 2 and 1024, got None."),
        (o.DrawOptions, "seed", -1, "seed must be between 0 and 18446744073709551615, got -1."),
        (o.DrawOptions, "seed", 2**64, f"seed must be between 0 and 18446744073709551615, got {2**64}."),
        (o.DrawOptions, "micro_batch", -1, "micro_batch must be between 0 and 1024, got -1."),
        (o.StepWindow, "start", -0.1, "start_percent must be between 0 and 1, got -0.1."),
        (o.StepWindow, "end", 1.1, "end_percent must be between 0 and 1, got 1.1."),
        (o.StepWindow, "end", 98, "end_percent must be between 0 and 1, got 98."),
        (o.StepWindow, "start", math.nan, "start_percent must be between 0 and 1, got nan."),
        (o.StepWindow, "every", 0, "every must be between 1 and 1000, got 0."),
        (o.StepWindow, "every", 1.5, "every must be a whole number, got 1.5."),
        (o.GuidanceOptions, "strength", math.inf, "strength must be between -100 and 100, got inf."),
        (o.GuidanceOptions, "percentile", 100.5, "percentile must be between 0 and 100, got 100.5."),
        (o.GuidanceOptions, "step_size", 0.0, "step_size must be between 1e-06 and 1, got 0.0."),
        (o.GuidanceOptions, "mode", "forward", "mode must be a GuidanceMode (posterior, forward, autograd), got 'forward'."),
        (o.GuidanceOptions, "units", "raw", "units must be a GuidanceUnits (relative, raw), got 'raw'."),
        (o.GuidanceOptions, "thresholds", ((1.0,),), "thresholds must be pairs of finite numbers (sigma, threshold), got (1.0,)."),
        (
            o.GuidanceOptions,
            "thresholds",
            ((1.0, math.nan),),
            "thresholds must be pairs of finite numbers (sigma, threshold), got (1.0, nan).",
        ),
        (o.AleatoricOptions, "quantity", "noise", "quantity must be a Quantity (denoised, noise, posterior), got 'noise'."),
        (o.AleatoricOptions, "center", "median", "center must be a Center (mean, prediction), got 'median'."),
        (o.AleatoricOptions, "pooling", o.Center.MEAN, "pooling must be a Pooling (sum, mean, upper_tail), got <Center.MEAN: 'mean'>."),
    ],
)
def test_a_bad_value_is_one_sentence(options, name, value, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole sentence is compared
        options(**{name: value})
    assert str(error.value) == sentence


def test_a_window_may_not_run_backwards():
    with pytest.raises(ValueError, match=r"start_percent must not exceed end_percent, got 0.6 > 0.5\."):
        o.StepWindow(0.6, 0.5)


@given(st.floats(0, 1), st.floats(0, 1))
def test_every_ordered_window_is_accepted(a, b):
    window = o.StepWindow(min(a, b), max(a, b))
    assert 0 <= window.start <= window.end <= 1


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2, math.inf), (-5, -1)])
@given(value=st.one_of(st.floats(), st.integers(-(10**400), 10**400)))
@example(value=math.inf)
@example(value=math.nan)
@example(value=10**400)
def test_check_range_accepts_just_the_finite_values_inside(low, high, value):
    if value in (math.inf, -math.inf) or not low <= value <= high:
        with pytest.raises(ValueError, match="^x must be "):
            o.check_range("x", value, low, high)
    else:
        o.check_range("x", value, low, high)


def test_numbers_of_numpy_are_numbers():
    assert o.DrawOptions(samples=np.int64(5)).samples == 5
    assert o.StepWindow(np.float32(0.5)).start == 0.5
    with pytest.raises(ValueError, match="whole number"):
        o.DrawOptions(samples=np.float32(5.0))


def test_every_quantity_has_its_own_direction():
    low = {quantity for quantity, direction in o.DIRECTION_OF.items() if direction is o.Direction.LOW_IS_BAD}
    assert set(o.DIRECTION_OF) == set(o.Quantity) and low == {o.Quantity.NOISE}
    assert {o.FreeScore.TRAJECTORY: o.Direction.HIGH_IS_BAD, o.FreeScore.CONDITION_GAP: o.Direction.LOW_IS_BAD} == o.DIRECTION_OF_FREE


def test_the_papers_setting():
    paper = o.GuidanceOptions.paper(seed=3)
    assert (paper.strength, paper.percentile, paper.draws.samples, paper.draws.seed) == (1.0, 95.0, 5, 3)
    assert (paper.units, paper.mode) == (o.GuidanceUnits.RAW, o.GuidanceMode.AUTOGRAD)
    assert (paper.window, paper.thresholds, paper.orthogonal) == (o.StepWindow(0.0, 1.0, 1), (), False)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=64, unique=True), st.sampled_from([",", ";", "\n", " , ", ",\n"]))
def test_a_list_of_numbers_is_read_back_as_it_was_written(numbers, between):
    assert o.parse_numbers(between.join(map(repr, numbers)) + between) == numbers
    assert o.parse_sweep(o.SweepSetting.STRENGTH, between.join(map(repr, numbers))) == numbers


def test_modes_of_a_sweep():
    assert o.parse_sweep(o.SweepSetting.MODE, "forward, posterior") == [o.GuidanceMode.FORWARD, o.GuidanceMode.POSTERIOR]


@pytest.mark.parametrize(
    ("setting", "text", "match"),
    [
        ("strength", " ", "values is empty; give one or more"),
        ("strength", "1 2", "'1 2' is no number"),
        ("percentile", "100.5", "percentile in values must be between 0 and 100, got 100.5"),
        ("cfg", "inf", "cfg in values must be between 0 and 100, got inf"),
        ("mode", "", "such as posterior, forward, autograd"),
        ("mode", "forward,forward", "values holds forward twice"),
    ],
)
def test_a_list_that_is_none_is_a_sentence(setting, text, match):
    with pytest.raises(ValueError, match=match):
        o.parse_sweep(o.SweepSetting(setting), text)
