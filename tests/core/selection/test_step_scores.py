"""The band of earlier images against numpy's own percentiles and interpolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uncertainty_nodes.core.files import load_tensors, save_tensors
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.selection.calibration import KIND, VERSION, Calibration
from uncertainty_nodes.core.selection.step_scores import MOST, StepScores

SIGMAS = torch.tensor([8.0, 4.0, 1.0], dtype=torch.float64)


def curves(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(3, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_band_is_numpys_percentiles_and_linear_in_log_noise():
    scores = curves(40)
    steps = StepScores.of([(SIGMAS, scores)])
    for row, sigma in enumerate(SIGMAS.tolist()):
        assert steps.band(sigma) == pytest.approx(tuple(np.percentile(scores[row].numpy(), (10, 90))))
    between = [(a + b) / 2 for a, b in zip(steps.band(4.0), steps.band(1.0), strict=True)]
    assert steps.band(2.0) == pytest.approx(between), "2 is half way from 1 to 4 on the logarithmic axis"
    assert steps.band(0.9) is None and steps.band(9.0) is None


def test_too_few_images_make_no_band():
    assert StepScores.of([(SIGMAS, curves(7))]).band(4.0) is None
    assert StepScores.of([(SIGMAS, curves(8))]).band(4.0) is not None


def test_only_the_latest_images_at_the_same_levels_are_kept():
    early, late = curves(MOST - 1), curves(3, seed=1)
    joined = StepScores.of([(SIGMAS, early), (SIGMAS * (1 + 1e-5), late)])
    assert len(joined) == MOST
    torch.testing.assert_close(joined.scores, torch.cat([early, late], dim=1)[:, 2:])
    other = StepScores.of([(SIGMAS, early), (SIGMAS * 2, late)])
    assert torch.equal(other.scores, late) and torch.equal(other.sigmas, SIGMAS * 2)


def test_what_cannot_be_shown_is_left_out():
    failed = curves(3)
    failed[1, 0] = torch.nan
    assert torch.equal(StepScores.of([(SIGMAS, failed)]).scores, failed[:, 1:])
    assert StepScores.of([(SIGMAS, failed[:, :1])]) is None
    assert StepScores.of([(torch.tensor([1.0, 0.0]), curves(2)[:2])]) is None, "no logarithm"
    assert StepScores.of([(torch.tensor([1.0, 1.0]), curves(2)[:2])]) is None, "one level twice"
    with pytest.raises(ValueError, match="all be different"):
        StepScores(torch.ones(2, dtype=torch.float64), torch.ones(2, 1, dtype=torch.float64))


def test_a_calibration_keeps_them_through_its_file_and_grows(tmp_path):
    def history(count: int, seed: int) -> Calibration:
        scores = curves(count, seed)
        made = Calibration.fit([scores.mean(dim=0)], Direction.HIGH_IS_BAD, "denoised")
        return Calibration(made.scores, made.direction, made.quantity, steps=StepScores.of([(SIGMAS, scores)]))

    path = tmp_path / "c.safetensors"
    first, second = history(5, 1), history(6, 2)
    first.save(path)
    grown = Calibration.load(path).merge(second)
    torch.testing.assert_close(grown.steps.scores, torch.cat([first.steps.scores, second.steps.scores], dim=1))
    without = Calibration.fit([torch.tensor([1.0])], Direction.HIGH_IS_BAD, "denoised")
    assert without.merge(first).steps is first.steps and first.merge(without).steps is first.steps
    assert without.merge(without).steps is None


@pytest.mark.parametrize("name", ["step_sigmas", "step_scores"])
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf], ids=str)
def test_a_damaged_file_is_refused(tmp_path, name, wrong):
    path = tmp_path / "c.safetensors"
    made = Calibration.fit([torch.tensor([1.0, 2.0])], Direction.HIGH_IS_BAD, "denoised")
    Calibration(made.scores, made.direction, made.quantity, steps=StepScores.of([(SIGMAS, curves(2))])).save(path)
    tensors, metadata = load_tensors(path, KIND, VERSION)
    tensors[name].view(-1)[0] = wrong
    save_tensors(path, tensors, KIND, VERSION, metadata)
    with pytest.raises(ValueError, match="not a whole saved calibration"):
        Calibration.load(path)
