"""What cannot be compared is refused in a sentence; what can is put together and widened."""

from __future__ import annotations

import math

import pytest
import torch

from uncertainty_nodes.core.ensemble.paide import Outcomes, distance_matrix, kl, per_image, per_pixel, stack_outcomes
from uncertainty_nodes.core.options import Distance, PaideOptions


def test_stack_keeps_members_apart():
    each = [Outcomes(torch.randn(2, 3, 2, 2), torch.rand(2, 3, 2, 2) + 0.1) for _ in range(3)]
    together = stack_outcomes(each)
    assert together.mean.shape == together.variance.shape == (3, 2, 3, 2, 2)
    assert all(torch.equal(together.mean[k], each[k].mean) for k in range(3))
    assert stack_outcomes([Outcomes(g.mean) for g in each]).variance is None
    torch.testing.assert_close(
        distance_matrix(together, Distance.KL)[0, 2], kl(each[0], each[2]).double().flatten(1).sum(1), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_is_widened_before_anything_is_squared(dtype):
    mean = torch.tensor([0.0, 300.0], dtype=dtype).view(2, 1, 1)  # 300^2 is infinite in half precision
    assert float(per_image(Outcomes(mean)).distance) == pytest.approx(9e4, rel=1e-2)


POINTS = torch.zeros(2, 1, 3)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: stack_outcomes([]), "There is no member to compare: give at least one, two to compare them."),
        (
            lambda: stack_outcomes([Outcomes(torch.zeros(1, 2)), Outcomes(torch.zeros(1, 3))]),
            "All members must have one shape: member 0 has (1, 2), member 1 has (1, 3).",
        ),
        (
            lambda: stack_outcomes([Outcomes(POINTS), Outcomes(POINTS, torch.ones(()))]),
            "Some members have a variance and some have none: give it to all, 0 for points.",
        ),
        (
            lambda: per_image(Outcomes(torch.zeros(3, 2))),
            "members must have the shape (members, images, channels, ...), none of them 0, got (3, 2).",
        ),
        (
            lambda: per_image(Outcomes(torch.zeros(3, 0, 2))),
            "members must have the shape (members, images, channels, ...), none of them 0, got (3, 0, 2).",
        ),
        (
            lambda: per_image(Outcomes(POINTS), PaideOptions(Distance.KL)),
            "The distance 'kl' needs variances, and points have none; use 'w2'.",
        ),
        (
            lambda: per_pixel(Outcomes(POINTS, torch.zeros(())), PaideOptions(Distance.BHATTACHARYYA)),
            "The distance 'bhattacharyya' needs variances above 0, got 0; use 'w2'.",
        ),
        (
            lambda: per_image(Outcomes(POINTS, torch.tensor([1.0, -0.5, 1.0]))),
            "variance must be finite and not negative, got -0.5 as its smallest value.",
        ),
        (lambda: per_image(Outcomes(POINTS, torch.ones(4))), "variance must have the members' shape (2, 1, 3), got (4,)."),
        (lambda: per_image(Outcomes(POINTS), weights=[1.0]), "weights must hold one number for each of 2 members, got 1."),
        (lambda: per_image(Outcomes(POINTS), weights=[1.0, 0.0]), "Each weight must be between 1e-12 and 1e+06, got 0.0."),
        (lambda: per_image(Outcomes(POINTS), weights=[1.0, math.nan]), "Each weight must be between 1e-12 and 1e+06, got nan."),
        (lambda: PaideOptions(bandwidth=-1.0), "bandwidth must be between 0 and 1e+09, got -1.0."),
        (lambda: PaideOptions("w2"), "distance must be a Distance (w2, kl, bhattacharyya), got 'w2'."),
    ],
)
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole sentence is compared
        call()
    assert str(error.value) == sentence
