"""The learned early stop: what it learns, what it promises, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import beta, binom
from sklearn.linear_model import LogisticRegression

from uncertainty_nodes.core.selection.early_stop import EarlyStop


def images(count: int = 400, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two scores, of which the first falls and the second rises with badness, on scales of their own."""
    generator = torch.Generator().manual_seed(seed)
    bad = torch.rand(count, generator=generator) < 0.3
    scores = torch.randn(count, 2, generator=generator) + torch.stack([-1.0 * bad, 2.0 * bad], dim=1)
    return scores * torch.tensor([1e-3, 50.0]) + 7, bad


def test_it_is_scikit_learns_logistic_regression_on_standardised_scores():
    scores, bad = images()
    fit = EarlyStop.fit(("a", "b"), scores, bad)
    x = ((scores - scores.mean(dim=0)) / scores.std(dim=0)).double().numpy()
    reference = LogisticRegression(C=1.0, tol=1e-10).fit(x, bad.numpy())
    assert fit.weights.numpy() == pytest.approx(reference.coef_[0], rel=1e-3)
    assert fit.offset == pytest.approx(reference.intercept_[0], rel=1e-3)
    assert fit.weights[0] < 0 < fit.weights[1]


@pytest.mark.parametrize("lost", [0.01, 0.05, 0.1])
def test_new_good_images_are_stopped_as_seldom_as_was_asked(lost):
    stopped = []
    for seed in range(20):
        limit = (fit := EarlyStop.fit(("a", "b"), *images(seed=seed))).threshold(lost)
        scores, bad = images(4000, seed=1000 + seed)
        stopped.append(float((fit.log_odds(scores[~bad]) > limit).double().mean()))
        assert float((fit.log_odds(scores[bad]) > limit).double().mean()) > 3 * lost
    assert 0.3 * lost < sum(stopped) / len(stopped) < 1.2 * lost


def test_too_few_good_images_promise_nothing():
    scores, bad = images(60)
    fit = EarlyStop.fit(("a", "b"), scores, bad)
    assert fit.threshold(0.001) == math.inf
    assert fit.threshold(1.0) == float(fit.good[0])


def test_failed_images_are_left_out_and_have_no_odds():
    scores, bad = images()
    scores[0, 1], plain = torch.nan, EarlyStop.fit(("a", "b"), scores[1:], bad[1:])
    fit = EarlyStop.fit(("a", "b"), scores, bad)
    assert torch.equal(fit.weights, plain.weights)
    assert fit.log_odds(scores)[0].isnan() and fit.log_odds(scores)[1:].isfinite().all()


def test_one_kind_of_image_teaches_nothing():
    scores, bad = images(10)
    with pytest.raises(ValueError, match=r"learned from 3 good and 3 bad images or more, got 0 bad\."):
        EarlyStop.fit(("a", "b"), scores, torch.zeros_like(bad))


@pytest.mark.parametrize("lost", [0.02, 0.05, 0.2])
def test_with_confidence_the_promise_holds_in_that_share_of_label_sets(lost):
    """The threshold against numpy's quantiles of uniform odds: coverage of the k-th smallest is Beta(k, G - k + 1)."""
    good = torch.linspace(0, 1, 300, dtype=torch.float64)
    fit = EarlyStop(("a",), torch.zeros(1), torch.ones(1), torch.ones(1), 0.0, good)
    k = int((good <= fit.threshold(lost, 0.9)).sum())
    assert beta.sf(1 - lost, k, 300 - k + 1) >= 0.9 > beta.sf(1 - lost, k - 1, 300 - k + 2)
    assert fit.threshold(lost) < fit.threshold(lost, 0.9)


def test_the_promise_holds_for_the_fit_to_all_labels_too():
    """Of 200 sets of few labels no more break it than a binomial law with 5 % allows; without confidence many do."""
    new = torch.randn(10_000, 2, generator=torch.Generator().manual_seed(1))
    broken = {0.95: 0, None: 0}
    for seed in range(200):
        bad = torch.arange(69) < 10
        scores = torch.randn(69, 2, generator=torch.Generator().manual_seed(100 + seed)) + torch.stack([1.0 * bad, 0.0 * bad], dim=1)
        fit = EarlyStop.fit(("a", "b"), scores, bad)
        for confidence in broken:
            broken[confidence] += float((fit.log_odds(new) > fit.threshold(0.05, confidence)).double().mean()) > 0.05
    assert broken[0.95] <= binom.ppf(0.999, 200, 0.05) < 0.15 * 200 < broken[None]


def test_too_few_labels_for_the_promise_are_a_sentence():
    fit = EarlyStop.fit(("a", "b"), *images(60))
    with pytest.raises(
        ValueError, match=r"good images are too few to stop at most 5 % of good images, with 95 % confidence; 59 are enough"
    ):
        fit.check_promise(0.05, 0.95)
    with pytest.raises(ValueError, match="no number of them is enough"):
        fit.check_promise(0.0, 0.95)
    fit.check_promise(0.3, 0.9)


def test_variances_count_by_their_logarithm():
    scores, bad = images()
    positive = scores.abs().double() + 1e-3
    logs = torch.stack([positive[:, 0].log(), positive[:, 1]], dim=1)
    fit, plain = EarlyStop.fit(("trajectory", "b"), positive, bad), EarlyStop.fit(("a", "b"), logs, bad)
    torch.testing.assert_close(fit.log_odds(positive), plain.log_odds(logs))
