"""What guidance costs: counted by hand, and the same steps as the window itself opens for."""

from __future__ import annotations

import math

import pytest

from uncertainty_nodes.core.guidance.price import Evaluation, price
from uncertainty_nodes.core.options import DrawOptions, GuidanceMode, GuidanceOptions, StepWindow
from uncertainty_nodes.core.schedule import SigmaWindow


def options(
    start: float, end: float, strength: float = 0.1, samples: int = 3, mode: GuidanceMode = GuidanceMode.POSTERIOR
) -> GuidanceOptions:
    return GuidanceOptions(strength, draws=DrawOptions(samples=samples), window=StepWindow(start, end), mode=mode)


def karras(percent: float) -> float:
    """As ComfyUI's: 1e9 at the very start, 0 at the end."""
    return 1e9 if percent <= 0 else 0.0 if percent >= 1 else (14.6 ** (1 / 7) + percent * (0.03 ** (1 / 7) - 14.6 ** (1 / 7))) ** 7


def shifted(percent: float) -> float:
    """Flow matching with shift 3."""
    return 3 * (1 - percent) / (1 + 2 * (1 - percent))


@pytest.mark.parametrize("percent_to_sigma", [karras, shifted])
def test_it_counts_the_steps_that_the_window_opens_for(percent_to_sigma) -> None:
    sigmas = [percent_to_sigma(i / 12) for i in range(1, 12)]
    evaluations = [Evaluation.at(sigma, percent_to_sigma) for sigma in sigmas]
    for start, end in ((0, 1), (0.25, 0.75), (0.5, 0.5), (0.3, 0.31), (1, 1), (0, 0), (1 / 12, 11 / 12)):
        window = SigmaWindow.resolve(StepWindow(start, end), percent_to_sigma)
        assert price(evaluations, options(start, end)).guiding == 3 * sum(map(window.is_active, sigmas)), (start, end)


def test_passes_modes_and_strength() -> None:
    evaluations = [Evaluation(0.0, 0.0, plain=2, drawn=2), Evaluation(0.5, 0.5, plain=2, drawn=1), Evaluation(0.9, 0.9, plain=1, drawn=0)]
    assert price(evaluations, options(0, 1)).guiding == 3 * 3 and price(evaluations, options(0, 1)).plain == 5
    assert price(evaluations, options(0.2, 1, mode=GuidanceMode.FORWARD)).guiding == 6
    assert price(evaluations, options(0.2, 1)).times == pytest.approx(1.6)
    assert price(evaluations, options(0, 1, strength=0)).times == 1
    assert price([], options(0, 1)).times == 1


def test_a_level_on_the_edge_lies_inside() -> None:
    each = Evaluation.at(shifted(0.4), shifted)
    assert each.earliest_end <= 0.4 <= each.latest_start and math.isclose(each.latest_start, each.earliest_end, abs_tol=1e-4)
