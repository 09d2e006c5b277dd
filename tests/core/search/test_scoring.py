"""Scores of candidates against the estimators they come from, and a closed form."""

from __future__ import annotations

import math

import pytest
import torch

from uncertainty_nodes.core.denoiser import Process, add_noise
from uncertainty_nodes.core.draws import noise
from uncertainty_nodes.core.options import DRAWN_SCORERS, AleatoricOptions, DrawOptions, InformationOptions, Quantity, Scorer
from uncertainty_nodes.core.pixelwise.aleatoric import estimate_aleatoric
from uncertainty_nodes.core.pixelwise.information import estimate_information
from uncertainty_nodes.core.pixelwise.quadrature import Quadrature
from uncertainty_nodes.core.search.scoring import comparison_sigma, score_candidates

DRAWS, SIGMA = DrawOptions(samples=4, antithetic=True, seed=3), 0.7


def given(x, sigma):
    return 0.6 * x.tanh() + 0.1


def without(x, sigma):
    return 0.4 * x


def candidates() -> torch.Tensor:
    return torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))


def test_scores_are_those_of_the_estimators():
    x0 = candidates()
    found = score_candidates(given, without, x0, SIGMA, Process.VP, DRAWS, DRAWN_SCORERS)
    whole = estimate_information(given, without, x0, Quadrature((SIGMA,), (1.0,)), Process.VP, InformationOptions(DRAWS, levels=1)).result
    torch.testing.assert_close(found.by[Scorer.INFORMATION], whole.scores)
    for scorer, quantity in ((Scorer.DENOISED, Quantity.DENOISED), (Scorer.NOISE, Quantity.NOISE)):
        spread = estimate_aleatoric(given, x0, [SIGMA], Process.VP, AleatoricOptions(DRAWS, quantity=quantity))
        torch.testing.assert_close(found.by[scorer], spread.scores)
    assert found.rows == 3 * 8


def test_information_is_half_the_difference_of_the_squared_errors_of_the_noise():
    x0, alpha = candidates(), math.sqrt(1 - SIGMA**2)
    expected = torch.zeros(3)
    for z in noise(DRAWS, 0, x0):
        x = add_noise(x0, z, torch.full((3,), SIGMA), Process.VP)
        errors = [((z - (x - alpha * d(x, SIGMA)) / SIGMA) ** 2).flatten(1).sum(dim=1) for d in (without, given)]
        expected += (errors[0] - errors[1]) / 2 / DRAWS.samples
    found = score_candidates(given, without, x0, SIGMA, Process.VP, DRAWS, (Scorer.INFORMATION,))
    torch.testing.assert_close(found.by[Scorer.INFORMATION], expected, rtol=1e-4, atol=1e-3)


def test_calls_are_counted_and_not_made_where_nobody_needs_them():
    def never(x, sigma):
        raise AssertionError

    found = score_candidates(given, never, candidates(), SIGMA, Process.VP, DRAWS, (Scorer.DENOISED, Scorer.NOISE))
    assert found.rows == 3 * 4
    assert set(found.by) == {Scorer.DENOISED, Scorer.NOISE}


def test_a_broken_candidate_does_not_touch_the_others():
    x0 = candidates()
    x0[1, 0, 0, 0] = math.nan
    found = score_candidates(given, without, x0, SIGMA, Process.VP, DRAWS, DRAWN_SCORERS)
    alone = score_candidates(given, without, x0[[0, 2]], SIGMA, Process.VP, DRAWS, DRAWN_SCORERS)
    for scorer in DRAWN_SCORERS:
        assert found.by[scorer][1].isnan()
        assert torch.equal(found.by[scorer][[0, 2]], alone.by[scorer])


def test_information_needs_an_empty_condition():
    with pytest.raises(ValueError, match="there is no empty condition here; give one"):
        score_candidates(given, None, candidates(), SIGMA, Process.VP, DRAWS, (Scorer.INFORMATION,))


def test_images_are_noised_to_their_own_level_but_never_below_the_middle():
    assert [comparison_sigma(s, lambda p: 1 - p) for s in (0.9, 0.5, 0.2, 0.0)] == [0.9, 0.5, 0.5, 0.5]
    assert comparison_sigma(1.0, lambda p: 1 - p) == 0.98, "where flow matching begins, alpha is 0 and nothing could be compared"
