"""What people read of a calibration."""

from __future__ import annotations

import pytest
import torch

from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.selection.calibration import Calibration
from uncertainty_nodes.core.selection.calibration_text import describe, describe_promise

FEW = "These are few. Judge images by them once there are about 30."


def fit(count, **made):
    return Calibration.fit([torch.arange(float(count))], Direction.HIGH_IS_BAD, "denoised", [made])


def test_how_many_scores_and_how_they_are_made():
    assert describe(fit(1, host="diffusers", steps="20", seed="3")) == ["1 score of denoised", FEW, "steps: 20", "scoring seed: 3"]
    assert describe(fit(29)) == ["29 scores of denoised", FEW] and describe(fit(30)) == ["30 scores of denoised"]
    assert describe(fit(50).thin(40)) == ["40 scores of denoised", "They are a random sample of the 50 scores that were collected."]


def test_an_early_stop_is_told_where_labels_allow_one():
    scores = torch.arange(6.0)
    history = fit(40).label(scores, scores > 2, {"trajectory": scores.flip(0)})
    assert describe(history)[1:] == ["An early stop is learned from denoised, trajectory, for all that can stop images on their way."]
    assert len(describe(fit(40).label(scores[:5], scores[:5] > 2, {"trajectory": scores[:5]}))) == 1


@pytest.mark.parametrize(("count", "told"), [(0, 0), (20, "too few to promise that at most 5 %"), (200, "At most 5 % of the images that")])
def test_what_labels_promise(count, told):
    scores = torch.arange(float(max(count, 1)))
    bad = scores >= 150
    lines = describe_promise(fit(200).label(scores, bad) if count else fit(200), 5, 95)
    if not count:
        assert lines == []
        return
    assert lines[0] == f"{count} labelled images, {int(bad.sum())} of them bad." and told in lines[1]
    if count == 200:  # the first score beyond which chance no longer explains so few bad ones is read off the same labels
        limit = fit(200).label(scores, bad).risk(5, 95)
        assert f"pass {limit.limit:.4g} are bad" in lines[1] and lines[1].endswith(
            f"{limit.passing} of the labelled images pass it, {limit.bad} of them bad."
        )
        assert 150 < limit.passing < 160 and limit.bad == limit.passing - 150
