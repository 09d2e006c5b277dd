"""One shared trajectory, then K branches: against exact solutions, loops over members and images, and the promises."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from torch import Tensor

from references import Calls, GaussianDenoiser, alpha_at
from references_ensemble import LEVELS, SHAPE, VP, alone, names, networks, noise, options, run
from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.ensemble.estimate import branch_step, estimate_ensemble
from uncertainty_nodes.core.ensemble.samplers import ode_sampler, one_by_one
from uncertainty_nodes.core.options import Distance, PaideOptions


def naive(denoisers, x: Tensor, sigmas, process: Process, base: int, branch: int, weights) -> tuple[Tensor, list, list]:
    """Finished samples (K, B, ...), and for each branched step and image I and the mean distance; image by image, float64."""
    steps = len(sigmas) - 1
    finished, information, distance = [], [], []
    for image in x.double():
        samples = [image for _ in denoisers]
        for i in range(steps):
            sigma, following = sigmas[i], sigmas[i + 1]
            for k, x_k in enumerate(samples):
                denoise = denoisers[base if i < branch else k]
                x0 = denoise(x_k[None], torch.tensor([sigma], dtype=torch.float64))[0]
                eps = (x_k - alpha_at(process, sigma) * x0) / sigma
                samples[k] = alpha_at(process, following) * x0 + following * eps
            if i >= branch:
                unit = math.sqrt(alpha_at(process, following) ** 2 + following**2)
                d = [[float(((p - q) / unit).square().sum()) for q in samples] for p in samples]
                rows = [math.log(sum(w * math.exp(-v) for w, v in zip(weights, row, strict=True))) for row in d]
                information.append(-sum(w * r for w, r in zip(weights, rows, strict=True)))
                pairs = [(a, b) for a in range(len(d)) for b in range(len(d)) if a != b]
                total = sum(weights[a] * weights[b] for a, b in pairs)
                distance.append(sum(weights[a] * weights[b] * d[a][b] for a, b in pairs) / total)
        finished.append(torch.stack(samples))
    return torch.stack(finished, dim=1), information, distance


@pytest.mark.parametrize("process", list(Process))
@pytest.mark.parametrize("branch", [0, 1, 2])
@pytest.mark.parametrize("micro_batch", [0, 1, 2])
def test_equals_the_naive_loop(process, branch, micro_batch):
    denoisers, sigmas, weights = [n.double() for n in networks(3)], LEVELS[process], (0.5, 0.3, 0.2)
    x = noise(scale=0.3 * sigmas[0])
    sampler = ode_sampler(one_by_one(denoisers), sigmas, process, dtype=torch.float64)
    found = estimate_ensemble(sampler, x, names(3), sigmas, process, branch, options(weights=weights, micro_batch=micro_batch))
    with torch.no_grad():
        samples, information, distance = naive(denoisers, x, sigmas, process, found.base, branch, weights)
    torch.testing.assert_close(found.samples.double(), samples, rtol=1e-3, atol=1e-4)
    assert found.information.curve.T.flatten().tolist() == pytest.approx(information, rel=2e-3, abs=1e-5)
    assert found.distance.curve.T.flatten().tolist() == pytest.approx(distance, rel=2e-3, abs=1e-5)
    assert torch.equal(found.information.sigmas, torch.tensor(sigmas[branch:-1]))


def test_members_that_learnt_other_means_part_as_the_exact_flow_says():
    """Gaussian data of mean m: the ODE carries x to m + s (x - alpha m) / sqrt(alpha^2 s^2 + sigma^2)."""
    means, s, sigmas = (-1.0, 0.0, 2.0), 0.7, torch.linspace(0.999, 0.0, 201).tolist()
    x, alpha = noise((2, 1, 2, 2)), alpha_at(Process.VP, 0.999)
    found = run([GaussianDenoiser(Process.VP, m, s) for m in means], x, sigmas, branch=0)
    for k, m in enumerate(means):
        exact = m + s * (x - alpha * m) / math.sqrt(alpha**2 * s**2 + 0.999**2)
        torch.testing.assert_close(found.samples[k], exact, rtol=0, atol=0.03)
    shift = 1 - s * alpha / math.sqrt(alpha**2 * s**2 + 0.999**2)
    apart = shift**2 * (1 + 4 + 9) / 3
    assert found.distance.scores.tolist() == pytest.approx([4 * apart] * 2, rel=0.03)
    assert found.distance.maps.flatten().tolist() == pytest.approx([apart] * 8, rel=0.03)


@pytest.mark.parametrize("distance", list(Distance))
@pytest.mark.parametrize("micro_batch", [0, 1])
def test_equal_members_disagree_by_exactly_nothing_and_change_no_bit(distance, micro_batch):
    network = networks(1)[0]
    chosen = options(paide=PaideOptions(distance), micro_batch=micro_batch)
    plain = alone(network, noise())
    found = run([network] * 4, chosen=chosen, members=["the same"] * 4)
    assert not found.information.scores.any() and not found.information.maps.any() and not found.information.curve.any()
    assert not found.distance.scores.any()
    assert found.samples.shape == (4, *SHAPE) and all(torch.equal(sample, plain) for sample in found.samples)
    assert found.information.nfe == 3  # run once
    apart = run([network] * 4, chosen=options(paide=PaideOptions(distance), micro_batch=1))
    assert not apart.information.scores.any() and all(torch.equal(sample, plain) for sample in apart.samples)
    assert "All members predict the same for 3 of 3 images" in apart.information.provenance["note"]


def test_one_member_has_the_score_zero_and_says_why():
    network = networks(1)[0]
    found = run([network])
    assert found.information.scores.tolist() == [0.0] * 3 and not found.information.maps.any()
    assert "One member has none to disagree with" in found.information.provenance["note"]
    assert torch.equal(found.samples[0], alone(network, noise())) and found.information.nfe == 3


@pytest.mark.parametrize("branch", [0, 1, 2])
def test_the_member_of_the_shared_part_draws_what_it_draws_alone(branch):
    denoisers = networks(3)
    found = run(denoisers, branch=branch, chosen=options(micro_batch=1, seed=5))
    assert torch.equal(found.samples[found.base], alone(denoisers[found.base], noise()))


def test_the_seed_alone_picks_the_member_of_the_shared_part():
    state = torch.get_rng_state()
    bases = [run(networks(3), noise((1, 2, 4, 4)), branch=2, chosen=options(seed=seed)).base for seed in range(12)]
    assert torch.equal(torch.get_rng_state(), state)
    assert set(bases) == {0, 1, 2}
    assert bases == [run(networks(3), noise((2, 2, 4, 4)), branch=2, chosen=options(seed=seed)).base for seed in range(12)]


@pytest.mark.parametrize("branch", [0, 2])
@pytest.mark.parametrize("micro_batch", [0, 1, 2])
def test_what_it_costs_is_counted_and_the_shared_part_is_paid_once(branch, micro_batch):
    calls = [Calls(n) for n in networks(5)]
    found = run(calls, branch=branch, chosen=options(micro_batch=micro_batch))
    assert found.information.nfe == found.distance.nfe == branch + 5 * (3 - branch)
    assert sum(c.rows for c in calls) == 3 * found.information.nfe
    assert calls[found.base].rows == 3 * 3
    twice = estimate_ensemble(ode_sampler(one_by_one(networks(2)), VP, Process.VP, passes=2), noise(), names(2), VP, Process.VP, branch)
    assert twice.information.nfe == 2 * (branch + 2 * (3 - branch))


def test_conditionings_share_one_call_in_the_order_of_members():
    """One network whose condition is the member's own: what a host does with embeddings."""
    network, shifts, seen = networks(1)[0], torch.tensor([0.0, 0.5, -1.0]), []

    def denoise(x: Tensor, sigma: Tensor, members) -> Tensor:
        seen.append((len(x), list(members)))
        condition = shifts[list(members)].repeat_interleave(len(x) // len(members)).view(-1, 1, 1, 1)
        return network(x + condition, sigma)

    found = estimate_ensemble(ode_sampler(denoise, VP, Process.VP), noise(), names(3), VP, Process.VP, 1, options())
    assert seen == [(3, [found.base]), (9, [0, 1, 2]), (9, [0, 1, 2])]
    single = run([lambda x, sigma, s=s: network(x + s, sigma) for s in shifts])
    torch.testing.assert_close(found.samples, single.samples)
    torch.testing.assert_close(found.information.maps, single.information.maps)


def test_neighbours_and_portions_do_not_matter():
    batch, denoisers = run(networks(4)), networks(4)
    for b in range(3):
        by_itself = run(denoisers, noise()[b : b + 1], chosen=options(micro_batch=b + 1))
        torch.testing.assert_close(by_itself.information.scores[0], batch.information.scores[b])
        torch.testing.assert_close(by_itself.information.maps[0], batch.information.maps[b])
        torch.testing.assert_close(by_itself.samples[:, 0], batch.samples[:, b])


def test_out_of_memory_goes_on_with_fewer_members_a_call(caplog):
    denoise, sizes = one_by_one(networks(5)), []

    def limited(x: Tensor, sigma: Tensor, members) -> Tensor:
        sizes.append(len(members))
        if len(x) > 6:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory (simulated)")
        return denoise(x, sigma, members)

    def compare(function):
        return estimate_ensemble(ode_sampler(function, VP, Process.VP), noise(), names(5), VP, Process.VP, 2, options())

    with caplog.at_level(logging.WARNING):
        found = compare(limited)
    assert sizes == [1, 1, 5, 2, 2, 1]
    assert "Out of memory with 5 members of the ensemble in a call: going on with 2." in caplog.text
    torch.testing.assert_close(found.information.scores, compare(denoise).information.scores)
    assert found.information.nfe == 2 + 5


def test_out_of_memory_with_one_member_a_call_is_no_different_from_plain_sampling():
    def full(x: Tensor, sigma: Tensor) -> Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory (simulated)")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        run([full, full], branch=0)


def test_out_of_memory_in_the_midst_of_a_run_ends_it():
    """What the members have made by then would be counted twice."""
    denoise = one_by_one(networks(2))

    def fills(x: Tensor, sigma: Tensor, members) -> Tensor:
        if len(members) == 2 and float(sigma[0]) < 0.5:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory (simulated)")
        return denoise(x, sigma, members)

    with pytest.raises(torch.cuda.OutOfMemoryError):
        estimate_ensemble(ode_sampler(fills, VP, Process.VP), noise(), names(2), VP, Process.VP, 0)


def test_no_graph_is_kept():
    assert not run(networks(2)).samples.requires_grad


def test_half_precision_is_what_the_denoiser_is_fed():
    def half(x: Tensor, sigma: Tensor) -> Tensor:
        assert sigma.dtype == torch.float32
        return 0.5 * x

    calls = Calls(half)
    sampler = ode_sampler(one_by_one([calls]), VP, Process.VP, dtype=torch.bfloat16)
    found = estimate_ensemble(sampler, noise().bfloat16(), ["one"], VP, Process.VP, 1)
    assert calls.dtypes == {torch.bfloat16} and found.samples.dtype == found.information.maps.dtype == torch.float32


@pytest.mark.parametrize(("percent", "shared"), [(0.0, 0), (0.1, 1), (0.25, 1), (0.5, 2), (0.74, 3), (0.75, 3), (1.0, 3)])
def test_the_branch_is_where_that_much_of_the_schedule_has_passed(percent, shared):
    assert branch_step(percent, [1.0, 0.75, 0.5, 0.25, 0.0], lambda p: 1 - p) == shared


def test_one_step_is_always_branched():
    assert branch_step(1.0, [1.0, 0.0], lambda p: 1 - p) == 0


def shrinking(x: Tensor, members, first: int, last: int, after) -> tuple[Tensor, int]:
    return x[..., 1:] if members == [1] else x, 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: run([]), "The ensemble is empty: give at least one member, two to compare them."),
        (lambda: run(networks(2), noise()[:0]), "The batch is empty: give at least one latent."),
        (lambda: run(networks(2), branch=3), "branch must leave at least one of 3 steps to the members, got 3."),
        (lambda: run(networks(2), branch=-1), "branch must leave at least one of 3 steps to the members, got -1."),
        (
            lambda: run(networks(2), sigmas=[0.5, 0.0, 0.0], branch=0),
            "sigmas must hold at least two finite levels, above 0 but for the last, got [0.5, 0.0, 0.0].",
        ),
        (
            lambda: run(networks(2), sigmas=[0.5], branch=0),
            "sigmas must hold at least two finite levels, above 0 but for the last, got [0.5].",
        ),
        (
            lambda: run(networks(2), sigmas=[math.nan, 0.1], branch=0),
            "sigmas must hold at least two finite levels, above 0 but for the last, got [nan, 0.1].",
        ),
        (lambda: run(networks(3), chosen=options(weights=(1.0, 2.0))), "weights must hold one number for each of 3 members, got 2."),
        (
            lambda: estimate_ensemble(shrinking, noise(), names(2), VP, Process.VP, 0, options(micro_batch=1)),
            "All members must keep the samples' shape (3, 2, 4, 4), got (3, 2, 4, 3).",
        ),
        (
            lambda: estimate_ensemble(lambda x, members, first, last, after: (x, 0), noise(), names(2), VP, Process.VP, 0),
            "The sampler reported none of its steps, so there is nothing to compare: use another one.",
        ),
        (lambda: options(weights=(1.0, -1.0)), "Each weight must be between 1e-12 and 1e+06, got -1.0."),
        (lambda: options(branch=1.5), "branch_percent must be between 0 and 1, got 1.5."),
        (lambda: options(moment="last"), "moment must be a Moment (first, last, mean), got 'last'."),
        (lambda: options(micro_batch=-1), "micro_batch must be between 0 and 1024, got -1."),
        (lambda: options(seed=-1), "seed must be between 0 and 18446744073709551615, got -1."),
    ],
)
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole sentence is compared
        call()
    assert str(error.value) == sentence
