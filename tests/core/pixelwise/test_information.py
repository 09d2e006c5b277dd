"""Prompt information on a mixture of Gaussians, where every quantity has a closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from uncertainty_nodes.core.denoiser import Process, add_noise, eps_from_x0
from uncertainty_nodes.core.draws import noise
from uncertainty_nodes.core.options import Direction, DrawOptions, InformationOptions
from uncertainty_nodes.core.pixelwise.information import condition_posterior, estimate_information, part_information
from uncertainty_nodes.core.pixelwise.quadrature import importance, sigma_at, trapezoid

SPREAD = 0.5
SHAPE = (1, 2, 2)
PRIOR = torch.tensor([0.5, 0.3, 0.2])
CENTRES = torch.tensor([[1.0, 0.0, 0.0, 0.5], [-0.5, 0.8, 0.0, 0.0], [0.0, -0.6, 0.9, -0.4]]).view(3, *SHAPE)
PROCESSES = list(Process)


def options(samples=4, antithetic=True, seed=0, micro_batch=1):
    return InformationOptions(draws=DrawOptions(samples, seed, antithetic, micro_batch))


def log_density(x: Tensor, centres: Tensor, variance: Tensor | float) -> Tensor:
    """log N(x; centre_k, variance I) for each k, without the constant all share: (N, K)."""
    return -(x[:, None] - centres).flatten(2).square().sum(2) / (2 * torch.as_tensor(variance).view(-1, 1))


class Mixture:
    """The exact denoiser of sum_k p_k N(centre_k, SPREAD^2 I): E[x0 | x]. One component is a class-conditional model."""

    def __init__(self, process: Process, classes=(0, 1, 2)):
        self.process, self.centres, self.prior = process, CENTRES[list(classes)], PRIOR[list(classes)]

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        assert x.shape[0] == sigma.shape[0]
        x64, s = x.double(), sigma.double().view(-1, 1, 1, 1)
        alpha = self.process.alpha(s)
        total = alpha.square() * SPREAD**2 + s.square()
        weight = (log_density(x64 / alpha, self.centres.double(), total / alpha.square()) + self.prior.log()).softmax(1)
        each = self.centres + (alpha * SPREAD**2 / total)[:, None] * (x64[:, None] - alpha[:, None] * self.centres)
        return (weight.view(*weight.shape, 1, 1, 1) * each).sum(1).to(x.dtype)


def images(count=12, seed=1):
    g = torch.Generator().manual_seed(seed)
    return CENTRES[torch.arange(count) % 3] + SPREAD * torch.randn(count, *SHAPE, generator=g)


def true_information(x: Tensor) -> Tensor:
    """log p(x | c_k) / p(x), (N, 3)."""
    each = log_density(x.double(), CENTRES.double(), SPREAD**2)
    return each - (each + PRIOR.log()).logsumexp(1, keepdim=True)


def wide(process: Process, count=24):
    return importance(-12, 12, count, process, scale=2.0)


def models(process: Process):
    return [Mixture(process, [k]) for k in range(3)], Mixture(process)


@pytest.mark.parametrize("process", PROCESSES)
def test_information_is_the_log_ratio_of_densities(process):
    x, (each, every) = images(), models(process)
    for k in range(3):
        found = estimate_information(each[k], every, x, wide(process), process, options(256, micro_batch=256))
        error = (found.result.scores - true_information(x)[:, k]).abs()
        assert bool((found.standard_error < 0.06).all())
        assert bool((error < 4 * found.standard_error + 0.01).all()), (error / found.standard_error).max()


def test_quadrature_converges_to_the_log_ratio():
    """With the noise averaged out, what is left is the quadrature's error: small, and smaller with more levels."""
    x, (each, every) = images(6), models(Process.VE)
    errors = []
    for count in (3, 40):
        found = estimate_information(each[0], every, x, wide(Process.VE, count), Process.VE, options(1000, micro_batch=1000))
        errors.append(float((found.result.scores - true_information(x)[:, 0]).abs().max()))
    assert errors[1] < 0.06 < errors[0]


@pytest.mark.parametrize("antithetic", [False, True])
def test_standard_error_is_the_spread_between_seeds_and_the_mutual_map_has_less(antithetic):
    x, (each, every), quadrature = images(4), models(Process.VP), wide(Process.VP, 4)
    runs = [estimate_information(each[0], every, x, quadrature, Process.VP, options(8, antithetic, seed, 8)) for seed in range(60)]
    spread = torch.stack([r.result.scores for r in runs]).std(0)
    stated = torch.stack([r.standard_error for r in runs]).square().mean(0).sqrt()
    torch.testing.assert_close(stated, spread, rtol=0.3, atol=0)
    assert bool((torch.stack([r.mutual.flatten(1).sum(1) for r in runs]).std(0) < spread).all())


def test_standard_error_halves_with_four_times_the_draws_and_antithetic_draws_lower_it():
    x, (each, every), quadrature = images(), models(Process.VP), wide(Process.VP, 12)

    def error(samples, antithetic):
        found = estimate_information(each[0], every, x, quadrature, Process.VP, options(samples, antithetic, micro_batch=samples))
        return float(found.standard_error.square().mean().sqrt())

    assert error(512, True) == pytest.approx(error(128, True) / 2, rel=0.1)
    assert error(512, False) == pytest.approx(error(128, False) / 2, rel=0.1)
    assert error(128, True) < 0.8 * error(128, False)


def test_one_pair_a_level_leaves_no_standard_error():
    x, (each, every) = images(2), models(Process.VP)
    found = estimate_information(each[0], every, x, wide(Process.VP, 3), Process.VP, options(2))
    assert bool(found.standard_error.isnan().all()) and bool(found.result.scores.isfinite().all())


@pytest.mark.parametrize("process", PROCESSES)
def test_posterior_is_bayes_rule(process):
    x, (each, every) = images(), models(process)
    found = condition_posterior(each, every, x, wide(process), process, options(64, micro_batch=64), log_prior=PRIOR.log().tolist())
    bayes = (log_density(x.double(), CENTRES.double(), SPREAD**2) + PRIOR.log()).softmax(1)
    torch.testing.assert_close(found.probabilities.double(), bayes, atol=0.05, rtol=0)
    assert torch.equal(found.probabilities.argmax(1), bayes.argmax(1))
    even = condition_posterior(each, every, x, wide(process), process, options(64, micro_batch=64))
    shifted = (even.probabilities.log() + PRIOR.log()).softmax(1)
    torch.testing.assert_close(found.probabilities, shifted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("antithetic", [False, True])
def test_equals_the_naive_loop(process, antithetic):
    """The definition, in eps, image by image and draw by draw."""
    x, (each, every), chosen = images(3), models(process), options(4, antithetic, seed=5)
    quadrature = trapezoid([sigma_at(p, process) for p in (-3.0, -1.0, 0.5, 2.0)], process)
    found = estimate_information(each[1], every, x, quadrature, process, chosen)
    for b in range(3):
        total, mutual, variance = torch.zeros(SHAPE), torch.zeros(SHAPE), 0.0
        for step, (sigma, weight) in enumerate(zip(quadrature.sigmas, [1.0, 1.75, 1.5, 0.75], strict=True)):
            s, terms = torch.tensor([sigma]), []
            for z in noise(chosen.draws, step, x):
                x_s = add_noise(x[b : b + 1], z, s, process)
                eps_c, eps_none = (eps_from_x0(x_s, d(x_s, s), s, process) for d in (each[1], every))
                terms.append(((z - eps_none).square() - (z - eps_c).square())[0] / 2)
                mutual += weight * (eps_none - eps_c).square()[0] / 2 / 4
            total += weight * sum(terms) / 4
            sums = torch.stack([t.sum() for t in terms])
            sums = (sums[::2] + sums[1::2]) / 2 if antithetic else sums
            variance += weight**2 * float(sums.var()) / len(sums)
            torch.testing.assert_close(found.result.curve[step, b], sums.mean(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.result.maps[b], total, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.mutual[b], mutual, rtol=1e-3, atol=1e-4)
        assert float(found.standard_error[b]) == pytest.approx(math.sqrt(variance), rel=1e-3)


def test_every_parametrisation_gives_the_same_number():
    x = images()
    results = []
    for process in PROCESSES:
        each, every = models(process)
        results.append(estimate_information(each[0], every, x, wide(process, 8), process).result.scores)
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(results[2], results[0], rtol=1e-3, atol=1e-3)


def test_mean_information_is_the_mean_of_the_mutual_map():
    """For images that truly follow the condition E[i(x; c)] = E[1/2 integral |eps(none) - eps(c)|^2]."""
    each, every = models(Process.VE)
    x = images(1500)[::3]
    found = estimate_information(each[0], every, x, wide(Process.VE, 12), Process.VE, options(64, micro_batch=64))
    mutual = found.mutual.flatten(1).sum(1)
    assert bool((found.mutual >= 0).all())
    assert float(mutual.mean()) == pytest.approx(float(found.result.scores.mean()), abs=0.08)


def test_result_is_whole():
    x, (each, every), quadrature = images(5), models(Process.VP), wide(Process.VP, 6)
    found = estimate_information(each[0], every, x, quadrature, Process.VP, options(4, micro_batch=4))
    result = found.result
    torch.testing.assert_close(result.maps.flatten(1).sum(1), result.scores)
    torch.testing.assert_close(torch.tensor(quadrature.weights) @ result.curve, result.scores, rtol=1e-4, atol=1e-4)
    assert result.direction is Direction.LOW_IS_BAD and result.quantity == "information"
    assert result.nfe == 2 * 4 * 6
    assert float(result.scores.min()) < 0 < float(result.scores.max())
    assert "note" not in result.provenance


def test_low_means_that_the_image_does_not_carry_the_condition():
    x, (each, every) = images(30), models(Process.VP)
    result = estimate_information(each[0], every, x, importance(-2, 4, 4, Process.VP), Process.VP).result
    own = torch.arange(30) % 3 == 0
    assert float(result.badness[own].max()) < float(result.badness[~own].median())


def test_costs_of_shared_evaluations_add_up():
    class Counting(Mixture):
        rows = 0

        def __call__(self, x, sigma):
            Counting.rows += len(x)
            return super().__call__(x, sigma)

    x, conditions = images(5), [Counting(Process.VP, [k]) for k in range(3)]
    found = condition_posterior(conditions, Counting(Process.VP), x, wide(Process.VP, 6), Process.VP)
    assert Counting.rows == 5 * (3 + 1) * 4 * 6
    assert sum(i.result.nfe for i in found.information) == pytest.approx((3 + 1) * 4 * 6)
    parts = part_information(Counting(Process.VP), conditions, x, wide(Process.VP, 6), Process.VP)
    assert Counting.rows == 2 * 5 * (3 + 1) * 4 * 6
    assert sum(i.result.nfe for i in parts) == pytest.approx((3 + 1) * 4 * 6)


def test_checklist_is_the_difference_of_two_informations():
    """The whole is class 0, as two parts: without 'not class 1' it would be {0, 1}, without 'not class 2' {0, 2}."""
    x, (each, every), quadrature = images(), models(Process.VE), wide(Process.VE)
    without = [Mixture(Process.VE, [0, 1]), Mixture(Process.VE, [0, 2])]
    parts = part_information(each[0], without, x, quadrature, Process.VE, options(8))
    whole = estimate_information(each[0], every, x, quadrature, Process.VE, options(8)).result
    for part, rest in zip(parts, without, strict=True):
        other = estimate_information(rest, every, x, quadrature, Process.VE, options(8)).result
        torch.testing.assert_close(part.result.scores, whole.scores - other.scores, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(part.result.maps, whole.maps - other.maps, rtol=1e-3, atol=1e-3)
    ignored = torch.stack([p.result.scores for p in parts]).argmin(0)
    kind = torch.arange(len(x)) % 3
    assert ignored[kind == 1].tolist() == [0] * 4 and ignored[kind == 2].tolist() == [1] * 4


def test_a_condition_that_changes_nothing_gives_zero_and_a_note():
    x, (_, every) = images(4), models(Process.FLOW)
    found = estimate_information(every, every, x, wide(Process.FLOW, 4), Process.FLOW)
    assert not found.result.maps.any() and not found.result.scores.any() and not found.mutual.any() and not found.standard_error.any()
    assert "same with and without the condition for 4 of 4 images" in found.result.provenance["note"]


def test_neighbours_micro_batches_and_the_global_generator_do_not_matter():
    x, (each, every), quadrature = images(5), models(Process.VP), wide(Process.VP, 4)
    state = torch.get_rng_state()
    batch = estimate_information(each[0], every, x, quadrature, Process.VP, options(4))
    assert torch.equal(torch.get_rng_state(), state)
    again = estimate_information(each[0], every, x, quadrature, Process.VP, options(4, micro_batch=3))
    alone = estimate_information(each[0], every, x[3:4], quadrature, Process.VP, options(4))
    torch.testing.assert_close(again.result.maps, batch.result.maps)
    torch.testing.assert_close(alone.result.maps[0], batch.result.maps[3])
    torch.testing.assert_close(alone.standard_error[0], batch.standard_error[3])


def test_an_image_that_failed_scores_nan_and_leaves_the_others_alone():
    x, (each, every), levels = images(3), models(Process.VP), wide(Process.VP, 3)
    whole = estimate_information(each[0], every, x, levels, Process.VP).result
    x[1, 0, 0, 0] = math.nan
    found = estimate_information(each[0], every, x, levels, Process.VP).result
    assert found.scores.isnan().tolist() == [False, True, False]
    assert torch.equal(found.maps[[0, 2]], whole.maps[[0, 2]]) and torch.equal(found.scores[[0, 2]], whole.scores[[0, 2]])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda c, n, x, q: estimate_information(None, n, x, q, Process.VP), "There is no condition"),
        (lambda c, n, x, q: estimate_information(c[0], None, x, q, Process.VP), "There is no empty condition to compare with"),
        (lambda c, n, x, q: condition_posterior([], n, x, q, Process.VP), "There is no condition"),
        (lambda c, n, x, q: condition_posterior(c, n, x, q, Process.VP, log_prior=[0.0]), "one number for each of 3 conditions"),
        (
            lambda c, n, x, q: condition_posterior(c, n, x, q, Process.VP, log_prior=[0.0, math.nan, 0.0]),
            "one number for each of 3 conditions",
        ),
        (lambda c, n, x, q: part_information(n, [], x, q, Process.VP), "There is no part to check"),
        (lambda c, n, x, q: estimate_information(c[0], n, x[:0], q, Process.VP), "batch is empty"),
        (lambda c, n, x, q: estimate_information(c[0], n, x.flatten(), q, Process.VP), "must have the shape"),
        (lambda c, n, x, q: InformationOptions(draws=DrawOptions(3, antithetic=True)), "must be even for antithetic draws"),
        (lambda c, n, x, q: InformationOptions(levels=0), "levels must be"),
        (lambda c, n, x, q: InformationOptions(scale=0.0), "scale must be"),
    ],
)
def test_bad_input_is_a_sentence(call, match):
    each, every = models(Process.VP)
    with pytest.raises(ValueError, match=match):
        call(each, every, images(2), wide(Process.VP, 2))
