"""How much K predictions disagree: distances between Gaussians, and the information estimated from them (PaiDE).

Members are diagonal Gaussians or points. With KL the estimate is an upper bound on the information between the mixture's output
and which member made it, with Bhattacharyya a lower one; with W2, which has the data's squared units, it is neither.
Computed in float64.
Sources: Kolchinsky & Tracey 2017 (arXiv 1706.02419); Berry & Meger 2023 (arXiv 2308.13498); Berry et al. 2024 (DECU).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from ..options import Distance, PaideOptions, limits


@dataclass(frozen=True, eq=False)
class Outcomes:
    """N(mean, diag variance) of any shape; points where variance is None. variance: anything that broadcasts to mean."""

    mean: Tensor
    variance: Tensor | None = None

    def __getitem__(self, index: int | slice) -> Outcomes:
        return Outcomes(self.mean[index], None if self.variance is None else self.variance.expand_as(self.mean)[index])

    @property
    def spread(self) -> Tensor:
        """The variance, 0 for points."""
        return torch.zeros(()) if self.variance is None else self.variance

    def exact(self) -> Outcomes:
        """The same in float64."""
        return Outcomes(double(self.mean), None if self.variance is None else double(self.variance))


@dataclass(frozen=True, eq=False)
class Paide:
    """information: I in nats, 0 <= I <= log K. distance: mean over pairs of the raw D, which still ranks where I has reached log K."""

    information: Tensor
    distance: Tensor


def double(x: Tensor) -> Tensor:
    return x.double() if x.device.type in ("cpu", "cuda") else x.cpu().double()  # other devices may lack float64


def squared_w2(p: Outcomes, q: Outcomes) -> Tensor:
    """W2^2 = (mu_p - mu_q)^2 + (s_p - s_q)^2 per dimension, s = sqrt(variance), 0 for points. Source: Dowson & Landau 1982."""
    s_p, s_q = p.spread.sqrt(), q.spread.sqrt()
    return (p.mean - q.mean).square() + (s_p - s_q).square()


def kl(p: Outcomes, q: Outcomes) -> Tensor:
    """KL(p || q) = 1/2 [ v_p / v_q - 1 - log(v_p / v_q) + (mu_p - mu_q)^2 / v_q ] per dimension, v the variances > 0."""
    shape = p.spread / q.spread - 1 - (p.spread.log() - q.spread.log())
    return (shape.clamp_min(0) + (p.mean - q.mean).square() / q.spread) / 2


def bhattacharyya(p: Outcomes, q: Outcomes) -> Tensor:
    """1/4 (mu_p - mu_q)^2 / (v_p + v_q) + 1/2 log( (v_p + v_q) / (2 s_p s_q) ) per dimension, v the variances > 0, s their roots.

    The logarithm as log(1 + (s_p - s_q)^2 / (2 s_p s_q)), exactly 0 for equal members. Source: Kailath 1967.
    """
    s_p, s_q = p.spread.sqrt(), q.spread.sqrt()
    between = (p.mean - q.mean).square() / (p.spread + q.spread) / 4
    return between + torch.log1p((s_p - s_q).square() / (2 * s_p * s_q)) / 2


DISTANCES = {Distance.W2: squared_w2, Distance.KL: kl, Distance.BHATTACHARYYA: bhattacharyya}


def distance_rows(members: Outcomes, distance: Distance) -> Iterable[Tensor]:
    """D(p_i, p_j) per dimension, one i after the other: K times (K, B, C, ...) float64, j along the first axis. Unchecked."""
    exact = members.exact()
    return (DISTANCES[distance](exact[i : i + 1], exact) for i in range(len(exact.mean)))


def distance_matrix(members: Outcomes, distance: Distance) -> Tensor:
    """D(p_i, p_j) of whole images, summed over dimensions: (K, K, B) float64, i first. members: (K, B, C, ...). Unchecked."""
    return torch.stack([row.flatten(2).sum(dim=2) for row in distance_rows(members, distance)])


def pairwise_information(distances: Iterable[Tensor], scale: float, weights: Sequence[float]) -> Paide:
    """I = - sum_i w_i log sum_j w_j exp(-D_ij / scale), and the mean of D_ij over pairs i != j, weighed by w_i w_j.

    distances: for each i the D_ij >= 0 of all j, (K, ...); their diagonal is 0. weights: K, adding up to 1. Returns two (...).
    Since D_ii = 0 is the least, the shift that keeps a logsumexp from underflowing is 0, and the sum is
    1 + sum_j w_j (exp(-D_ij) - 1): exactly 1 for equal members, no digits cancel for close ones, and never below w_i.
    NaN stays in its place. One member: I = 0. Source: Berry et al. 2024, the PaiDE; Kolchinsky & Tracey 2017, section 3.
    """
    information = distance = torch.zeros(())
    for row, weight in zip(distances, weights, strict=True):
        w = torch.tensor(weights, dtype=row.dtype, device=row.device).view(-1, *[1] * (row.ndim - 1))
        beyond = (w * torch.expm1(-row / scale)).sum(dim=0).clamp_min(-1)
        information = information - weight * torch.log1p(beyond).clamp_min(math.log(weight))
        distance = distance + weight * (w * row).sum(dim=0)
    pairs = sum(a * b for a, b in permutations(weights, 2))
    return Paide(information, distance / pairs if pairs else distance)


def per_image(members: Outcomes, options: PaideOptions | None = None, weights: Sequence[float] | None = None) -> Paide:
    """I and mean distance of whole images, D summed over dimensions: (B,) float64 each. members: (K, B, C, ...).

    An image at which a member is not finite gets NaN. Raises ValueError, in a sentence, for what cannot be compared: variances that are
    negative, or that a distance lacks.
    """
    options = options or PaideOptions()
    check_outcomes(members, options.distance)
    weights = normalise_weights(weights, len(members.mean))
    return pairwise_information(distance_matrix(members, options.distance), options.bandwidth or members.mean[0, 0].numel(), weights)


def per_pixel(members: Outcomes, options: PaideOptions | None = None, weights: Sequence[float] | None = None) -> Paide:
    """The same for every pixel and channel by itself: maps (B, C, ...) float64. Raises what ``per_image`` raises."""
    options = options or PaideOptions()
    check_outcomes(members, options.distance)
    weights = normalise_weights(weights, len(members.mean))
    return pairwise_information(distance_rows(members, options.distance), options.bandwidth or 1.0, weights)


def normalise_weights(weights: Sequence[float] | None, count: int) -> list[float]:
    """``count`` weights that add up to 1; equal ones when left out. Raises ValueError unless there is one > 0 for each member."""
    weights = list(weights) if weights else [1.0] * count
    if len(weights) != count:
        raise ValueError(f"weights must hold one number for each of {count} members, got {len(weights)}.")
    for weight in weights:
        limits.MEMBER_WEIGHT.check("Each weight", weight)
    return [weight / sum(weights) for weight in weights]


def stack_outcomes(members: Sequence[Outcomes]) -> Outcomes:
    """K members (B, C, ...) as one (K, B, C, ...). Raises ValueError for none, for different shapes, for points among Gaussians."""
    if not members:
        raise ValueError("There is no member to compare: give at least one, two to compare them.")
    shapes = [tuple(m.mean.shape) for m in members]
    for k, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(f"All members must have one shape: member 0 has {shapes[0]}, member {k} has {shape}.")
    if len({m.variance is None for m in members}) > 1:
        raise ValueError("Some members have a variance and some have none: give it to all, 0 for points.")
    means = torch.stack([m.mean for m in members])
    if members[0].variance is None:
        return Outcomes(means)
    return Outcomes(means, torch.stack([m.spread.expand_as(m.mean) for m in members]))


def check_outcomes(members: Outcomes, distance: Distance) -> None:
    """Raises ValueError, in a sentence, for members that cannot be compared."""
    mean, variance = members.mean, members.variance
    if mean.ndim < 3 or 0 in mean.shape:
        raise ValueError(f"members must have the shape (members, images, channels, ...), none of them 0, got {tuple(mean.shape)}.")
    if variance is None:
        if distance is not Distance.W2:
            raise ValueError(f"The distance {distance.value!r} needs variances, and points have none; use 'w2'.")
        return
    try:
        variance.expand_as(mean)
    except RuntimeError as error:
        raise ValueError(f"variance must have the members' shape {tuple(mean.shape)}, got {tuple(variance.shape)}.") from error
    least = float(variance.min())
    if not bool(variance.isfinite().all()) or least < 0:
        raise ValueError(f"variance must be finite and not negative, got {least:g} as its smallest value.")
    if least == 0 and distance is not Distance.W2:
        raise ValueError(f"The distance {distance.value!r} needs variances above 0, got 0; use 'w2'.")
