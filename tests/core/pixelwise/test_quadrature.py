"""Levels and weights over log SNR, against scipy's integrals and numpy's trapezoid rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.options import InformationOptions, StepWindow
from uncertainty_nodes.core.pixelwise.quadrature import (
    LOG_SNR_LIMIT,
    Quadrature,
    importance,
    log_snr,
    sigma_at,
    trapezoid,
    window_quadrature,
)

PROCESSES = list(Process)


def bump(level: float) -> float:
    return 1 / math.cosh(level - 1) ** 2


def integral_of(rule: Quadrature, process: Process) -> float:
    return sum(w * bump(log_snr(s, process)) for s, w in zip(rule.sigmas, rule.weights, strict=True))


@given(st.floats(-12, 12), st.sampled_from(PROCESSES))
def test_sigma_and_log_snr_are_inverse(level, process):
    sigma = sigma_at(level, process)
    assert log_snr(sigma, process) == pytest.approx(level, abs=1e-6)
    alpha = float(process.alpha(torch.tensor(sigma, dtype=torch.float64)))
    assert alpha**2 / sigma**2 == pytest.approx(math.exp(level), rel=1e-5)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize(("location", "scale"), [(0.0, 1.0), (1.0, 2.0), (0.0, math.inf)])
def test_rules_integrate_over_the_window(process, location, scale):
    for start, end in [(-6.0, 8.0), (-1.0, 0.5)]:
        rule = importance(start, end, 200, process, location, scale)
        assert integral_of(rule, process) == pytest.approx(quad(bump, start, end)[0], rel=1e-3)
        points = [log_snr(s, process) for s in rule.sigmas]
        assert start < points[0] and points[-1] < end


def test_importance_places_levels_where_its_density_is():
    points = [log_snr(s, Process.VE) for s in importance(-12, 12, 400, Process.VE, location=1.0, scale=0.7).sigmas]
    assert np.median(points) == pytest.approx(1.0, abs=0.02)
    assert np.std(points) == pytest.approx(0.7 * math.pi / math.sqrt(3), rel=0.03)  # of a logistic


def test_importance_needs_fewer_levels_than_even_ones():
    exact = quad(bump, -12, 12)[0]
    error = {s: abs(integral_of(importance(-12, 12, 8, Process.VE, 1.0, s), Process.VE) - exact) for s in (1.0, math.inf)}
    assert error[1.0] < 0.1 * error[math.inf]


@pytest.mark.parametrize("process", PROCESSES)
def test_trapezoid_is_numpys(process):
    points = [-3.0, -2.5, -0.5, 0.1, 2.0]
    rule = trapezoid([sigma_at(p, process) for p in points], process)
    trapz = getattr(np, "trapezoid", None) or np.trapz
    assert integral_of(rule, process) == pytest.approx(trapz([bump(p) for p in points], points), rel=1e-5)
    assert sum(rule.weights) == pytest.approx(5.0)


def test_one_level_stands_for_one_unit_and_a_window_for_its_width():
    assert trapezoid([0.5], Process.VP).weights == (1.0,)
    assert importance(-1.0, 2.0, 1, Process.VP, scale=math.inf).weights == pytest.approx((3.0,))
    none = importance(0.3, 0.3, 4, Process.VP)
    assert sum(none.weights) == pytest.approx(1.0)
    assert [log_snr(s, Process.VP) for s in none.sigmas] == pytest.approx([0.3] * 4)


@pytest.mark.parametrize("process", PROCESSES)
def test_window_follows_the_schedule_and_open_ends_are_cut(process):
    def percent_to_sigma(percent: float) -> float:  # a host's: no signal at 0 (ComfyUI says 1e9 where alpha is 1), no noise at 1
        if percent in (0.0, 1.0):
            return (1e9 if process is Process.VE else 1.0) if percent == 0 else 0.0
        return sigma_at(20 * percent - 10, process)

    whole = window_quadrature(InformationOptions(window=StepWindow(0, 1), levels=50, scale=math.inf), percent_to_sigma, process)
    assert sum(whole.weights) == pytest.approx(2 * LOG_SNR_LIMIT)
    inner = window_quadrature(InformationOptions(window=StepWindow(0.4, 0.6), levels=3, scale=math.inf), percent_to_sigma, process)
    assert sum(inner.weights) == pytest.approx(4.0, rel=1e-4)
    assert [log_snr(s, process) for s in inner.sigmas] == pytest.approx([-4 / 3, 0, 4 / 3], abs=1e-4)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: Quadrature((), ()), "sigmas is empty"),
        (lambda: Quadrature((1.0, 0.5), (1.0,)), "one weight, got 2 sigmas and 1 weights"),
        (lambda: Quadrature((1.0, 0.0), (1.0, 1.0)), "above 0 and finite"),
        (lambda: Quadrature((0.5, 1.0), (1.0, 1.0)), "from noisy to clean"),
        (lambda: Quadrature((1.0,), (math.nan,)), "weights must be finite"),
        (lambda: trapezoid([], Process.VP), "sigmas is empty"),
        (lambda: trapezoid([1.0, 0.5], Process.FLOW), "leave both signal and noise"),
        (lambda: trapezoid([0.5, 0.0], Process.VP), "leave both signal and noise"),
        (lambda: importance(0, 1, 0, Process.VP), "levels must be at least 1"),
        (lambda: importance(1, 0, 4, Process.VP), "from noisy to clean"),
    ],
)
def test_bad_input_is_a_sentence(call, match):
    with pytest.raises(ValueError, match=match):
        call()
