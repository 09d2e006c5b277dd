"""Every option's default and range stands once, can be read, and is what the option is checked by."""

from __future__ import annotations

import dataclasses
import math

import pytest

from uncertainty_nodes.core import options as o
from uncertainty_nodes.core.options import Bounds, bounded, bounds, limits

OPTIONS = [kind for kind in vars(o).values() if dataclasses.is_dataclass(kind) and kind is not Bounds]
BOUNDED = [(kind, field.name) for kind in OPTIONS for field in dataclasses.fields(kind) if "bounds" in field.metadata]
LIMITS = {name: value for name, value in vars(limits).items() if isinstance(value, Bounds)}
FREE = {(o.HeatmapOptions, "low"), (o.HeatmapOptions, "high")}  # their range depends on the scale


def beyond(bounds: Bounds) -> tuple[float, float]:
    if bounds.whole:
        return bounds.low - 1, bounds.high + 1
    return math.nextafter(bounds.low, -math.inf), math.nextafter(bounds.high, math.inf)


def test_every_number_of_every_option_has_bounds():
    numbers = {(kind, f.name) for kind in OPTIONS for f in dataclasses.fields(kind) if type(f.default) in (int, float)}
    assert len(OPTIONS) >= 14
    assert numbers - FREE == set(BOUNDED)


@pytest.mark.parametrize(("kind", "name"), BOUNDED)
def test_just_the_values_within_are_accepted(kind, name):
    limit = bounds(kind, name)
    assert getattr(kind(), name) == limit.default
    dependent = {"start": {"end": 1.0}, "end": {"start": 0.0}, "keep": {"candidates": limit.high}}.get(name, {})
    if (kind, name) == (o.UntilOptions, "value"):  # narrower still where it is a percentage
        dependent = {"rule": o.FilterRule.THRESHOLD}
    for value in (limit.low, limit.high):
        assert getattr(kind(**{name: value} | dependent), name) == value
    for value in (*beyond(limit), math.nan, "1", None, True):
        with pytest.raises(ValueError, match=f"^{limit.label or name} must be between "):
            kind(**{name: value})
    if limit.whole:
        with pytest.raises(ValueError, match="whole number"):
            kind(**{name: limit.low + 0.5})
    if limit.infinite:
        assert getattr(kind(**{name: math.inf}), name) == math.inf
        with pytest.raises(ValueError, match="must be between"):
            kind(**{name: -math.inf})
    else:
        with pytest.raises(ValueError, match="must be between"):
            kind(**{name: math.inf})


@pytest.mark.parametrize("name", LIMITS)
def test_limits_of_what_has_no_options_hold_their_default(name):
    limit = LIMITS[name]
    limit.check(name, limit.default)
    for value in beyond(limit):
        with pytest.raises(ValueError, match=f"^{name} must be between "):
            limit.check(name, value)


@pytest.mark.parametrize("limit", [*LIMITS.values(), *(bounds(*each) for each in BOUNDED)])
def test_a_widget_can_show_every_limit(limit):
    assert math.isfinite(limit.low) and math.isfinite(limit.high) and limit.low <= limit.default <= limit.high
    assert limit.step is None or 0 < limit.step <= limit.high - limit.low
    assert {type(limit.low), type(limit.high)} == {type(limit.default)}


def test_a_label_is_what_messages_say():
    @dataclasses.dataclass(frozen=True)
    class Options:
        size: int = bounded(2, 1, 3, label="bootstrap_size")
        mode: o.Pooling = o.Pooling.MEAN

        def __post_init__(self) -> None:
            o.check_fields(self)

    with pytest.raises(ValueError, match=r"^bootstrap_size must be between 1 and 3, got 4\.$"):
        Options(4)
    with pytest.raises(ValueError, match=r"^mode must be a Pooling \(sum, mean, upper_tail\), got 'mean'\.$"):
        Options(mode="mean")


def test_a_field_without_bounds_is_named():
    with pytest.raises(KeyError, match="HeatmapOptions has no bounds for 'low'"):
        bounds(o.HeatmapOptions, "low")
    assert bounds(o.DrawOptions(samples=7), "samples") == bounds(o.DrawOptions, "samples") == Bounds(5, 2, 1024)
