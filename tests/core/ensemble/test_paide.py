"""Distances between Gaussians against torch.distributions and integrals; the estimate against loops, limits and known bounds."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from uncertainty_nodes.core.ensemble.paide import (
    Outcomes,
    bhattacharyya,
    distance_matrix,
    pairwise_information,
    per_image,
    per_pixel,
    squared_w2,
)
from uncertainty_nodes.core.options import Distance, PaideOptions

SHAPE = (4, 2, 3, 2, 2)  # members, images, channels, height, width
ALL = list(Distance)
PUBLISHED = {d: PaideOptions(d, bandwidth=1.0) for d in ALL}


def members(shape=SHAPE, seed=0, apart=1.0) -> Outcomes:
    g = torch.Generator().manual_seed(seed)
    mean, log_variance = (torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2))
    return Outcomes(apart * mean, (log_variance / 2).exp())


def naive(distances: list[list[float]], weights: list[float]) -> float:
    """The definition, one pair at a time."""
    total = 0.0
    for row, w_i in zip(distances, weights, strict=True):
        total -= w_i * math.log(sum(w_j * math.exp(-d) for w_j, d in zip(weights, row, strict=True)))
    return total


def scalar(distance: Distance, m_p: float, v_p: float, m_q: float, v_q: float) -> float:
    """Textbook forms in one dimension."""
    if distance is Distance.W2:
        return (m_p - m_q) ** 2 + v_p + v_q - 2 * math.sqrt(v_p * v_q)
    if distance is Distance.KL:
        return math.log(math.sqrt(v_q / v_p)) + (v_p + (m_p - m_q) ** 2) / (2 * v_q) - 0.5
    mean = (v_p + v_q) / 2
    return (m_p - m_q) ** 2 / (8 * mean) + 0.5 * math.log(mean / math.sqrt(v_p * v_q))


def at(g: Outcomes, k: int, b: int) -> list[tuple[float, float]]:
    return list(zip(g.mean[k, b].flatten().tolist(), g.variance[k, b].flatten().tolist(), strict=True))


def naive_distance(g: Outcomes, distance: Distance, i: int, j: int, b: int) -> list[float]:
    return [scalar(distance, *p, *q) for p, q in zip(at(g, i, b), at(g, j, b), strict=True)]


def test_kl_is_that_of_torch_distributions():
    g = members()
    found = distance_matrix(g, Distance.KL)
    for i in range(4):
        for j in range(4):
            p, q = (Independent(Normal(g.mean[k], g.variance[k].sqrt()), 3) for k in (i, j))
            torch.testing.assert_close(found[i, j], kl_divergence(p, q))


def density(x: Tensor, mean: float, variance: float) -> Tensor:
    return torch.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


@pytest.mark.parametrize(("m", "v"), [(0.0, 1.0), (1.5, 1.0), (0.0, 0.2), (-2.0, 3.0), (6.0, 0.5)])
def test_bhattacharyya_is_minus_the_log_of_the_overlap(m, v):
    """-log of the integral of sqrt(p q)."""
    x = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    overlap = float(torch.trapezoid((density(x, 0.3, 1.0) * density(x, m, v)).sqrt(), x))
    p, q = (Outcomes(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)) for a, b in ((0.3, 1.0), (m, v)))
    assert float(bhattacharyya(p, q)) == pytest.approx(-math.log(overlap), rel=1e-9)


def test_w2_is_the_cost_of_the_best_matching_of_samples():
    """In one dimension the best matching pairs sorted samples: the mean squared difference of quantiles."""
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    p, q = Normal(0.3, 1.0), Normal(torch.tensor(-1.0, dtype=torch.float64), 2.5)
    matched = float((p.icdf(u) - q.icdf(u)).square().mean())
    found = squared_w2(Outcomes(torch.tensor(0.3), torch.tensor(1.0)), Outcomes(torch.tensor(-1.0), torch.tensor(6.25)))
    assert float(found) == pytest.approx(matched, rel=1e-3)


@pytest.mark.parametrize("distance", ALL)
def test_equals_the_naive_triple_loop(distance):
    g, weights = members(apart=0.5), [0.4, 0.3, 0.2, 0.1]
    image, pixel = per_image(g, PUBLISHED[distance], weights), per_pixel(g, PUBLISHED[distance], weights)
    for b in range(2):
        each = [[naive_distance(g, distance, i, j, b) for j in range(4)] for i in range(4)]
        totals = [[sum(d) for d in row] for row in each]
        assert float(image.information[b]) == pytest.approx(naive(totals, weights), rel=1e-9)
        pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
        share = sum(weights[i] * weights[j] for i, j in pairs)
        mean = sum(weights[i] * weights[j] * totals[i][j] for i, j in pairs) / share
        assert float(image.distance[b]) == pytest.approx(mean, rel=1e-9)
        maps = [naive([[d[n] for d in row] for row in each], weights) for n in range(12)]
        assert pixel.information[b].flatten().tolist() == pytest.approx(maps, rel=1e-9, abs=1e-12)
        # raw distances add up over pixels
        assert float(pixel.distance[b].sum()) == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize("k", [2, 3, 5, 7])
def test_identical_members_give_exactly_zero(distance, k):
    one = members((1, *SHAPE[1:]))
    same = Outcomes(one.mean.expand(k, *SHAPE[1:]), one.variance)
    for found in (per_image(same, PaideOptions(distance)), per_pixel(same, PaideOptions(distance))):
        assert not found.information.any() and not found.distance.any()


@pytest.mark.parametrize("distance", ALL)
@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("apart", [1e3, 1e100, 1e200])
def test_members_out_of_reach_give_log_k(distance, k, apart):
    """exp(-D) underflows, and in the last case D itself is infinite."""
    mean = apart * torch.arange(k, dtype=torch.float64).view(k, 1, 1).expand(k, 2, 3)
    found = per_image(Outcomes(mean, torch.ones(())), PUBLISHED[distance])
    assert found.information.tolist() == pytest.approx([math.log(k)] * 2, rel=1e-12)
    assert bool((found.distance > 1e5).all())


def test_variances_out_of_reach_give_log_k_and_never_nan():
    variance = torch.tensor([1e-200, 1.0, 1e200], dtype=torch.float64).view(3, 1, 1)
    found = per_image(Outcomes(torch.zeros(3, 1, 4), variance), PUBLISHED[Distance.KL])
    assert found.information.tolist() == pytest.approx([math.log(3)])


def test_a_distance_of_a_million_is_told_from_another_by_the_raw_distance():
    near, far = (Outcomes(torch.tensor([0.0, d]).view(2, 1, 1).expand(2, 1, 4)) for d in (500.0, 1000.0))
    first, second = per_image(near, PUBLISHED[Distance.W2]), per_image(far, PUBLISHED[Distance.W2])
    assert float(first.distance) == 1e6 and float(second.distance) == 4e6
    assert float(first.information) == float(second.information) == pytest.approx(math.log(2))


@pytest.mark.parametrize("d", [1e-30, 1e-9, 1e-3, 0.7, 30.0])
def test_two_members_have_a_closed_form_down_to_tiny_distances(d):
    """I = log 2 - log(1 + exp(-D)) = D / 2 - D^2 / 8 + ..."""
    found = float(pairwise_information(torch.tensor([[0.0, d], [d, 0.0]], dtype=torch.float64), 1.0, [0.5, 0.5]).information)
    assert found == pytest.approx(d / 2 - d**2 / 8 if d < 1e-2 else math.log(2) - math.log1p(math.exp(-d)), rel=1e-6)


@given(st.integers(1, 6), st.floats(1e-3, 50), st.sampled_from(ALL), st.lists(st.floats(0.01, 10), min_size=6, max_size=6))
def test_bounds_and_permutations(k, apart, distance, weights):
    g, weights = members((k, 2, 3), seed=k, apart=apart), weights[:k]
    options = PaideOptions(distance, bandwidth=3.0)
    total = sum(weights)
    entropy = -sum(w / total * math.log(w / total) for w in weights)
    for function in (per_image, per_pixel):
        found = function(g, options, weights)
        assert float(found.information.min()) >= 0
        assert float(found.information.max()) <= entropy + 1e-12 <= math.log(k) + 2e-12
        turned = function(Outcomes(g.mean.flip(0), g.variance.flip(0)), options, weights[::-1])
        torch.testing.assert_close(turned.information, found.information)
        torch.testing.assert_close(turned.distance, found.distance)
        scaled = function(g, options, [7 * w for w in weights])
        torch.testing.assert_close(scaled.information, found.information)


@given(st.integers(0, 1000), st.floats(0.01, 20))
def test_which_distances_are_symmetric_and_none_is_negative(seed, apart):
    g = members((3, 2, 4), seed, apart)
    for distance in ALL:
        d = distance_matrix(g, distance)
        assert float(d.min()) >= 0 and not d.diagonal().any()
        assert torch.equal(d, d.transpose(0, 1)) is (distance is not Distance.KL)


def test_the_information_of_a_mixture_lies_between_bhattacharyya_and_kl():
    """What an output tells of its member, H(mixture) - mean H(member), integrated; Kolchinsky & Tracey 2017."""
    means, variances, weights = [-1.0, 0.5, 2.0], [0.6, 1.0, 0.4], [0.5, 0.3, 0.2]
    x = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    parts = [density(x, m, v) for m, v in zip(means, variances, strict=True)]
    mixture = sum(w * p for w, p in zip(weights, parts, strict=True))
    truth = sum(w * float(torch.trapezoid(p * (p / mixture).log(), x)) for w, p in zip(weights, parts, strict=True))
    g = Outcomes(torch.tensor(means).view(3, 1, 1), torch.tensor(variances).view(3, 1, 1))
    low, high = (float(per_image(g, PUBLISHED[d], weights).information) for d in (Distance.BHATTACHARYYA, Distance.KL))
    assert 0.5 * truth < low < truth < high < 2 * truth


def test_a_member_of_hardly_any_weight_hardly_counts_and_two_equal_ones_add_up():
    g = members((3, 2, 4))
    pair = per_image(Outcomes(g.mean[:2], g.variance[:2])).information
    torch.testing.assert_close(per_image(g, weights=[1, 1, 1e-12]).information, pair, rtol=0, atol=1e-9)
    twice = per_image(Outcomes(g.mean[[0, 0, 1]], g.variance[[0, 0, 1]]))
    torch.testing.assert_close(per_image(Outcomes(g.mean[:2], g.variance[:2]), weights=[2, 1]).information, twice.information)


def test_weights_of_any_ratio_stay_within_the_bounds():
    found = per_image(Outcomes(torch.tensor([0.0, 1e3]).view(2, 1, 1)), PUBLISHED[Distance.W2], [1e6, 1e-12])
    share = 1e-18
    assert float(found.information) == pytest.approx(share - share * math.log(share), rel=1e-6)
    assert float(found.distance) == pytest.approx(1e6)


@pytest.mark.parametrize("k", [13, 26, 29])
def test_weights_that_add_up_to_more_than_one_by_rounding_leave_no_nan(k):
    far = Outcomes(1e6 * torch.arange(k + 1).view(k + 1, 1, 1))
    assert float(per_image(far, PUBLISHED[Distance.W2], [1e6] * k + [1e-12]).information) == pytest.approx(math.log(k))


def test_kl_of_almost_equal_variances_is_never_negative():
    variance = (1 + 1e-9 * torch.arange(200, dtype=torch.float64)).view(200, 1, 1)
    assert float(distance_matrix(Outcomes(torch.zeros(200, 1, 1), variance), Distance.KL).min()) == 0


def test_bandwidth_changes_the_value_and_not_the_order():
    g = Outcomes(torch.tensor([0.0, 1.0]).view(2, 1, 1) * torch.tensor([0.1, 1.0, 3.0, 9.0]).view(1, 4, 1).expand(1, 4, 100))
    options = {b: PaideOptions(bandwidth=b) for b in (0.0, 10.0, 1e4)}
    found = {b: per_image(g, o) for b, o in options.items()}
    for f in found.values():
        assert f.information.argsort().tolist() == [0, 1, 2, 3]
        assert f.distance.tolist() == pytest.approx([1.0, 100.0, 900.0, 8100.0])
    assert bool((found[10.0].information > found[0.0].information)[:3].all())
    assert bool((found[0.0].information > found[1e4].information).all())
    # left out, it is the number of dimensions
    assert torch.equal(found[0.0].information, per_image(g, PaideOptions(bandwidth=100.0)).information)
    assert torch.equal(per_pixel(g, options[0.0]).information, per_pixel(g, PaideOptions(bandwidth=1.0)).information)
    # as published, all but the first image say the same
    assert per_image(g, PUBLISHED[Distance.W2]).information[1:].tolist() == pytest.approx([math.log(2)] * 3)


def test_the_map_is_bright_where_the_members_differ():
    mean = torch.zeros(3, 1, 2, 4, 4)
    mean[1, :, :, 1, 2] = 5.0
    found = per_pixel(Outcomes(mean))
    assert found.information.shape == found.distance.shape == (1, 2, 4, 4)
    assert [tuple(place) for place in found.information.nonzero().tolist()] == [(0, 0, 1, 2), (0, 1, 1, 2)]
    # one of three apart: a third of the members is told by its place, H(1/3)
    assert float(found.information.max()) == pytest.approx(math.log(3) - 2 / 3 * math.log(2))


def test_one_member_has_nothing_to_disagree_with():
    found = per_image(members((1, 2, 3)))
    assert found.information.tolist() == found.distance.tolist() == [0.0, 0.0]


def test_an_image_does_not_depend_on_its_neighbours():
    g = members((4, 3, 2, 5))
    alone = per_image(Outcomes(g.mean[:, 1:2], g.variance[:, 1:2]))
    assert torch.equal(alone.information[0], per_image(g).information[1])
