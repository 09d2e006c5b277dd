"""Axes of the X/Y/Z plot against a stand-in for its module: registered once, checked before the first cell, and no cell tells another."""

from __future__ import annotations

import copy
from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import pytest

from uncertainty_nodes.core.options import FilterRule
from uncertainty_nodes.hosts.webui.page.axes import AXES, register
from uncertainty_nodes.hosts.webui.settings import Settings, mapping_of

Loaded = namedtuple("Loaded", "path module")
OF_THE_HOST = SimpleNamespace(label="Nothing")
TITLES = [axis.title for axis in AXES]


def plot() -> Any:
    def make(label: str, type: type, apply: Any, confirm: Any = None, choices: Any = None) -> SimpleNamespace:
        return SimpleNamespace(label=label, type=type, apply=apply, confirm=confirm, choices=choices)

    return SimpleNamespace(axis_options=[OF_THE_HOST], AxisOption=make)


def axes_of(module: Any) -> dict[str, Any]:
    return {option.label.removeprefix("[Uncertainty] "): option for option in module.axis_options[1:]}


@pytest.fixture
def axes() -> dict[str, Any]:
    module = plot()
    register([Loaded("/forge/scripts/xyz_grid.py", module)])
    return axes_of(module)


def settings_of(p: Any, **values: Any) -> Settings:
    return Settings.from_mapping({**mapping_of([values]), **p.uncertainty_overrides})


def test_they_are_appended_once_and_only_where_there_is_a_plot() -> None:
    module, other = plot(), plot()
    loaded = [Loaded("/forge/scripts/xyz_grid.py", module), Loaded("/forge/scripts/loopback.py", other)]
    for _ in range(2):  # for txt2img and for img2img
        register(loaded)
    assert [option.label for option in module.axis_options] == ["Nothing", *TITLES]
    assert other.axis_options == [OF_THE_HOST]


@pytest.mark.parametrize(
    ("axis", "value", "setting"),
    [
        ("Guidance strength", 0.3, "strength"),
        ("Guide from", 0.2, "guidance_start"),
        ("Guide to", 0.9, "guidance_end"),
        ("Guidance mode", "forward", "mode"),
        ("Guidance samples", 4, "guidance_samples"),
        ("Samples of the score", 6, "samples"),
        ("Measure from", 0.1, "start_percent"),
        ("Measure to", 0.95, "end_percent"),
        ("Percent dropped", 40.0, "value"),
        ("Seed of the draws", 7, "seed"),
    ],
)
def test_each_sets_its_setting_and_turns_the_script_on(axes: dict[str, Any], axis: str, value: Any, setting: str) -> None:
    p = SimpleNamespace()
    axes[axis].apply(p, value, [value])
    settings = settings_of(p, enabled=False)
    assert settings.enabled
    assert getattr(settings, setting) == value
    axes[axis].confirm(p, [value])


def test_cells_of_a_plot_tell_each_other_nothing(axes: dict[str, Any]) -> None:
    p = SimpleNamespace()
    first, second = copy.copy(p), copy.copy(p)
    axes["Guidance strength"].apply(first, 0.1, [0.1])
    axes["Guide to"].apply(first, 0.9, [0.9])
    axes["Guide to"].apply(second, 0.8, [0.8])
    assert (settings_of(first).strength, settings_of(first).guidance_end) == (0.1, 0.9)
    assert (settings_of(second).strength, settings_of(second).guidance_end) == (0.0, 0.8)
    assert not hasattr(p, "uncertainty_overrides")


def test_an_axis_brings_what_it_would_mean_nothing_without(axes: dict[str, Any]) -> None:
    p = SimpleNamespace()
    axes["Percent dropped"].apply(p, 50.0, [50.0])
    assert settings_of(p, rule="threshold", wanted=2).rule is FilterRule.DROP_WORST_PERCENT
    p = SimpleNamespace()
    axes["Guidance strength"].apply(p, 0.3, [0.3])
    guidance = settings_of(p, preset="paper").guidance()
    assert guidance is not None and guidance.strength == 0.3


@pytest.mark.parametrize(
    ("axis", "value", "sentence"),
    [
        ("Guidance strength", 500.0, r"\[Uncertainty\] Guidance strength must be between -100 and 100, got 500"),
        ("Guide to", 1.5, r"\[Uncertainty\] Guide to must be between 0 and 1, got 1.5"),
        ("Percent dropped", 101.0, r"\[Uncertainty\] Percent dropped must be between 0 and 100, got 101"),
        ("Guidance mode", "backward", r"\[Uncertainty\] Guidance mode must be one of .*, got 'backward'"),
    ],
)
def test_values_out_of_range_are_told_before_the_first_cell(axes: dict[str, Any], axis: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        axes[axis].confirm(SimpleNamespace(), [value])


def test_modes_are_offered_as_choices(axes: dict[str, Any]) -> None:
    assert axes["Guidance mode"].choices() == ["posterior", "forward", "autograd"]
