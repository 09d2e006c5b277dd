"""Windows open where they should, at their edges too."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uncertainty_nodes.core.options import StepWindow
from uncertainty_nodes.core.schedule import LateStepGate, SigmaWindow, StepGate, levels


def karras(percent: float) -> float:
    """14.6 at the start, 0.03 at the end, log-linear."""
    return 14.6 * (0.03 / 14.6) ** percent


def comfyui(percent: float) -> float:
    """As ComfyUI's eps models answer: beyond both ends of the schedule."""
    return 1e9 if percent <= 0 else 0.0 if percent >= 1 else karras(percent)


def flow(percent: float) -> float:
    return 1 - percent


SCHEDULES = pytest.mark.parametrize("percent_to_sigma", [karras, comfyui, flow])


@SCHEDULES
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.001, 0.999))
def test_active_just_where_the_percent_lies_in_the_window(percent_to_sigma, a, b, percent):
    window = StepWindow(min(a, b), max(a, b))
    resolved = SigmaWindow.resolve(window, percent_to_sigma)
    active = resolved.is_active(percent_to_sigma(percent))
    if window.start <= percent <= window.end:
        assert active
    elif percent < window.start - 1e-3 or percent > window.end + 1e-3:
        assert not active


@SCHEDULES
def test_a_step_on_an_edge_is_inside_despite_rounding(percent_to_sigma):
    window = SigmaWindow.resolve(StepWindow(0.3, 0.7), percent_to_sigma)
    for edge in (0.3, 0.7):
        for rounding in (1 - 1e-6, 1.0, 1 + 1e-6):
            assert window.is_active(percent_to_sigma(edge) * rounding)
    assert not window.is_active(percent_to_sigma(0.3) * 1.001)
    assert not window.is_active(percent_to_sigma(0.7) * 0.999)


def test_small_sigmas_do_not_slip_in_below_a_wide_window():
    assert not SigmaWindow(14.6, 1e-4).is_active(5e-5)


def test_sigma_zero_and_nan_are_never_active():
    window = SigmaWindow.resolve(StepWindow(0.0, 1.0), flow)
    assert window.sigma_end == 0
    assert window.is_active(1e-6)
    assert not window.is_active(0.0)
    assert not window.is_active(-0.0)
    assert not window.is_active(math.nan)


def test_a_window_of_one_point():
    window = SigmaWindow.resolve(StepWindow(0.5, 0.5), karras)
    assert [window.is_active(karras(p)) for p in (0.49, 0.5, 0.51)] == [False, True, False]


@pytest.mark.parametrize("every", [1, 2, 3, 7, 100])
def test_every_kth_step_counts_from_the_first_in_the_window(every):
    gate = StepGate(SigmaWindow.resolve(StepWindow(0.3, 0.8, every), flow))
    steps = [i / 20 for i in range(21)]
    inside = [p for p in steps if 0.3 <= p <= 0.8]
    assert [p for p in steps if gate.opens(flow(p))] == inside[::every]
    assert gate.count == len(inside)


@SCHEDULES
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(1, 30))
def test_levels_run_from_noisy_to_clean_inside_the_window(percent_to_sigma, a, b, count):
    window = StepWindow(min(a, b), max(a, b))
    sigmas = levels(window, count, percent_to_sigma)
    assert len(sigmas) == count
    assert all(x >= y - 1e-9 for x, y in zip(sigmas, sigmas[1:], strict=False))
    assert all(SigmaWindow.resolve(window, percent_to_sigma).is_active(s) for s in sigmas)


def test_levels_are_even_in_percent_and_reach_both_ends():
    assert levels(StepWindow(0.2, 0.8), 4, flow) == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert levels(StepWindow(0.2, 0.8), 1, flow) == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("count", "sentence"), [(0, "levels must be between 1 and 1000, got 0"), (2.5, "levels must be a whole number, got 2.5")]
)
def test_a_bad_count_of_levels_is_refused(count, sentence):
    with pytest.raises(ValueError, match=sentence):
        levels(StepWindow(), count, flow)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([0.9, 0.5, 0.1, 0.0], (0.6, 0.4)),  # one lies inside
        ([0.9, 0.7, 0.1, 0.0], (0.7, 0.7)),
        ([1.0, 0.2, 0.0], (0.2, 0.2)),
        ([0.01, 0.0], (0.01, 0.01)),
        ([0.0], (0.6, 0.4)),  # no step at all
        ([], (0.6, 0.4)),
    ],
)
def test_a_run_of_few_steps_is_measured_at_the_step_nearest_to_the_window(steps, expected):
    reached = SigmaWindow(0.6, 0.4, every=2).reaching(steps)
    assert (reached.sigma_start, reached.sigma_end) == expected
    opened = [sigma for sigma in steps if StepGate(reached).opens(sigma)]
    assert len(opened) == (1 if any(steps) else 0)


def test_a_late_gate_opens_on_the_first_step_past_a_window_that_no_step_lay_in():
    window = SigmaWindow.resolve(StepWindow(0.6, 0.75), flow)
    for steps, expected in [([0.9, 0.5, 0.2, 0.1], [0.2]), ([0.9, 0.35, 0.3, 0.1], [0.35, 0.3]), ([0.9, 0.0], []), ([0.1], [0.1])]:
        gate = LateStepGate(window)
        assert [sigma for sigma in steps if gate.opens(sigma)] == expected
