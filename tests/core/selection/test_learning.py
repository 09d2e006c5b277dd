"""Weights learned from labels, against scikit-learn, scipy and a loop over pairs."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.core.selection.combine import combine
from uncertainty_nodes.core.selection.learning import fit_logistic, fit_nonnegative, learn_weights

HIGH, LOW = Direction.HIGH_IS_BAD, Direction.LOW_IS_BAD


def result(scores, direction: Direction = HIGH) -> Uncertainty:
    values = torch.as_tensor(scores, dtype=torch.float32)
    return Uncertainty(torch.zeros(len(values), 1, 2, 2), values, values[None], torch.ones(1), direction, "denoised", 4.0, 0.1)


def scene(seed: int, images: int = 24, noise: tuple[float, ...] = (0.3, 0.8)):
    """Results that see a hidden badness through noise, the second of them the other way round; the worst third is rejected."""
    draw = np.random.default_rng(seed)
    badness = draw.normal(size=images)
    seen = [badness + level * draw.normal(size=images) for level in noise]
    results = [result(sign * s, direction) for s, sign, direction in zip(seen, (1, -1, 1, -1), (HIGH, LOW, HIGH, LOW), strict=False)]
    rejected = np.argsort(badness)[-images // 3 :].tolist()
    ranks = np.stack([(rankdata(s.astype(np.float32)) - 1) / (images - 1) for s in seen], axis=1)
    return results, [i for i in range(images) if i not in rejected], rejected, ranks


def sklearn_fit(x, y, counts=None):
    return LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(x, y, sample_weight=counts)


@pytest.mark.parametrize("seed", range(4))
def test_a_fit_is_scikit_learns(seed):
    *_, rejected, x = scene(seed, noise=(0.3, 5.0, 1.0))
    y = np.where(np.isin(np.arange(len(x)), rejected), 1.0, -1.0)
    counts = np.random.default_rng(seed).integers(0, 3, (3, len(x))).astype(float)
    found, _ = fit_logistic(torch.tensor(x), torch.tensor(y), torch.tensor(counts))
    for weights, count in zip(found.numpy(), counts, strict=True):
        reference = sklearn_fit(x, y, count)
        np.testing.assert_allclose(weights, [*reference.coef_[0], reference.intercept_[0]], atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_limits_are_those_of_a_general_optimiser(seed):
    draw = np.random.default_rng(seed)
    x, y = draw.random((30, 3)), np.where(draw.random(30) < 0.4, 1.0, -1.0)

    def loss(w):
        return np.logaddexp(0, -y * (x @ w[:3] + w[3])).sum() + (w[:3] ** 2).sum() / 2

    reference = minimize(
        loss, np.zeros(4), method="L-BFGS-B", bounds=[(0, None)] * 3 + [(None, None)], options={"ftol": 1e-15, "gtol": 1e-9}
    )
    found = fit_nonnegative(torch.tensor(x), torch.tensor(y), torch.ones(1, 30, dtype=torch.float64))[0]
    np.testing.assert_allclose(found, reference.x[:3], atol=1e-4)


def test_weights_and_auroc_are_those_of_a_loop_over_pairs():
    results, accepted, rejected, ranks = scene(7)
    learned = learn_weights(results, accepted, rejected)
    labelled = accepted + rejected
    x, y = ranks[labelled], np.array([-1.0] * len(accepted) + [1.0] * len(rejected))
    weights = sklearn_fit(x, y).coef_[0]
    assert min(weights) > 0
    np.testing.assert_allclose(learned.weights, weights / max(weights), atol=1e-4)
    told = []
    for bad, good in product(np.flatnonzero(y > 0), np.flatnonzero(y < 0)):
        rest = [i for i in range(len(y)) if i not in (bad, good)]
        fold = np.clip(sklearn_fit(x[rest], y[rest]).coef_[0], 0, None)
        difference = fold @ (x[bad] - x[good])
        told.append(0.5 if abs(difference) < 1e-6 else float(difference > 0))
    assert learned.auroc == pytest.approx(np.mean(told), abs=2 / len(told))
    assert learned.equal == pytest.approx(roc_auc_score(y, x.sum(axis=1)))
    assert (learned.accepted, learned.rejected) == (16, 8)
    assert str(learned).startswith("Weights ") and f"AUROC {learned.auroc:.2f}, with equal weights {learned.equal:.2f}" in str(learned)


def test_what_is_learned_finds_the_rejected_better_than_equal_weights():
    """One result sees well, three are noise."""
    draw = np.random.default_rng(99)
    gains = []
    for seed in range(5):
        (first, *_), accepted, rejected, _ = scene(seed, 60, noise=(0.3,))
        results = [first, *(result(draw.normal(size=60)) for _ in range(3))]
        learned = learn_weights(results, accepted[::3], rejected[::2])
        bad = np.isin(np.arange(60), rejected)
        gains.append(roc_auc_score(bad, combine(results, learned.weights).scores) - roc_auc_score(bad, combine(results, [1.0] * 4).scores))
        assert learned.weights[0] == 1.0 and learned.auroc > learned.equal
    assert min(gains) > 0.05


def test_the_auroc_of_labels_without_meaning_is_near_chance():
    """Leaving out single images would give far less than a half."""
    draw = np.random.default_rng(1)
    aurocs = []
    for _ in range(20):
        results, order = [result(draw.normal(size=20)) for _ in range(2)], draw.permutation(20).tolist()
        try:
            aurocs.append(learn_weights(results, order[:10], order[10:]).auroc)
        except ValueError:  # speaks against every result
            aurocs.append(0.5)
    assert np.mean(aurocs) == pytest.approx(0.5, abs=0.1)


def test_it_is_the_same_again_and_more_labels_than_pairs_are_bounded():
    results, accepted, rejected, _ = scene(3, 300)
    first, again = (learn_weights(results, accepted, rejected) for _ in range(2))
    assert first == again and 0.5 < first.auroc <= 1


def test_a_result_that_the_labels_speak_against_counts_nothing():
    results, accepted, rejected, _ = scene(5, noise=(0.3, 0.3))
    turned = Uncertainty(**{**vars(results[1]), "direction": HIGH})
    assert learn_weights([results[0], turned], accepted, rejected).weights == (1.0, 0.0)


@pytest.mark.parametrize(
    ("accepted", "rejected", "match"),
    [
        ([], [0, 1, 2, 3], "needs 3 accepted and 3 rejected images or more, got 0 accepted with a score"),
        ([0, 1, 2], [3, 4], "got 2 rejected with a score; name more in accepted_indexes and rejected_indexes"),
        ([0, 1, 2, 3], [3, 4, 5], "both name image 3; take it out of one"),
        ([0, 1, 6], [3, 4, 5], "got 2 accepted with a score"),
        ([3, 4, 5], [0, 1, 2], "The labels speak against every result"),
    ],
)
def test_labels_that_teach_nothing_are_a_sentence(accepted, rejected, match):
    results = [result([1.0, 2, 3, 4, 5, 6, math.nan]), result([10.0, 20, 30, 40, 50, 60, 70])]
    with pytest.raises(ValueError, match=match):
        learn_weights(results, accepted, rejected)
