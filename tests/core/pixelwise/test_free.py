"""Scores that cost no model call, against the same sums over stored steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uncertainty_nodes.core.denoiser import Process, eps_from_x0
from uncertainty_nodes.core.options import Direction, FreeOptions, FreeScore, GapWeight, Pooling, StepWindow
from uncertainty_nodes.core.pixelwise.condition_gap import condition_gap
from uncertainty_nodes.core.pixelwise.free import FreeRecorder
from uncertainty_nodes.core.pixelwise.trajectory import Trajectory
from uncertainty_nodes.core.result import Uncertainty

SIGMAS = (0.9, 0.6, 0.3, 0.1)
GAP = FreeOptions(FreeScore.CONDITION_GAP)


def steps(images: int = 3, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, images, 2, 4, 4, generator=generator).unbind() for _ in SIGMAS]


def record(options: FreeOptions, seen=None, process: Process = Process.VP) -> FreeRecorder:
    recorder = FreeRecorder(options, process)
    for (given, without), sigma in zip(seen or steps(), SIGMAS, strict=False):
        recorder.observe(given, given, without, torch.full((len(given),), sigma))
    return recorder


def test_the_trajectory_is_numpys_variance_over_the_steps():
    recorder = record(FreeOptions(pooling=Pooling.MEAN))
    stored = np.stack([given.double().numpy() for given, _ in steps()])
    result = recorder.result()
    assert np.allclose(result.maps, stored.var(axis=0), atol=1e-6)
    assert np.allclose(result.scores, stored.var(axis=0).mean(axis=(1, 2, 3)), atol=1e-6)
    partial = np.stack([stored[: s + 1].var(axis=0).mean(axis=(1, 2, 3)) for s in range(len(SIGMAS))])
    assert np.allclose(result.curve, partial, atol=1e-6)
    assert (result.direction, result.quantity, result.nfe) == (Direction.HIGH_IS_BAD, "trajectory", 0)


def test_a_large_mean_costs_the_trajectory_no_digits():
    trajectory, values = Trajectory(), torch.tensor([1.0, 2.0, 4.0])
    for value in values:
        trajectory.add((value + 4096).view(1, 1))
    assert float(trajectory.variance) == pytest.approx(float(values.var(correction=0)), rel=1e-3)


def test_a_trajectory_keeps_two_maps_and_leaves_what_it_is_given_alone():
    x0, trajectory = torch.ones(1, 1, 2, 2), Trajectory()
    for _ in range(5):
        trajectory.add(x0)
    assert x0.tolist() == torch.ones(1, 1, 2, 2).tolist()
    assert [v.shape for v in vars(trajectory).values() if isinstance(v, torch.Tensor)] == [x0.shape] * 2


@pytest.mark.parametrize("process", Process)
def test_the_gap_is_that_of_the_noise_predictions_or_of_the_images(process):
    (given, without), sigma, x = steps()[0], torch.tensor([0.2, 0.5, 0.8]), torch.randn(3, 2, 4, 4)
    noise = eps_from_x0(x, given, sigma, process) - eps_from_x0(x, without, sigma, process)
    assert torch.allclose(condition_gap(given, without, sigma, process, GapWeight.NOISE), noise.square(), rtol=1e-3, atol=1e-5)
    assert torch.equal(condition_gap(given, without, sigma, process, GapWeight.IMAGE), (given - without).square())


@pytest.mark.parametrize("pooling", Pooling)
def test_the_gap_of_a_run_is_the_mean_of_its_steps(pooling):
    result = record(FreeOptions(FreeScore.CONDITION_GAP, pooling=pooling)).result()
    maps = [
        condition_gap(given, without, torch.full((3,), sigma), Process.VP, GapWeight.NOISE)
        for (given, without), sigma in zip(steps(), SIGMAS, strict=True)
    ]
    assert torch.allclose(result.maps, sum(maps) / 4)
    assert torch.allclose(result.scores, result.curve.sum(dim=0) if pooling is Pooling.SUM else result.curve.mean(dim=0))
    assert (result.direction, result.quantity, result.nfe) == (Direction.LOW_IS_BAD, "condition_gap", 0)


@pytest.mark.parametrize("score", FreeScore)
def test_an_image_does_not_hang_on_its_neighbours_and_a_failed_one_fails_alone(score):
    together, alone = steps(), [(given[1:2], without[1:2]) for given, without in steps()]
    together[1][0][0] = torch.nan
    both, single = record(FreeOptions(score), together).result(), record(FreeOptions(score), alone).result()
    assert torch.equal(both.scores[1:2], single.scores)
    assert torch.equal(both.maps[1:2], single.maps)
    assert both.scores[0].isnan() and both.scores[1:].isfinite().all()
    assert "Image 1 of 3 failed" in both.provenance["failed"]


def test_results_are_kept_in_files(tmp_path):
    for score in FreeScore:
        result = record(FreeOptions(score)).result({"host": "test"})
        result.save(tmp_path / "result.safetensors")
        loaded = Uncertainty.load(tmp_path / "result.safetensors")
        assert torch.equal(loaded.scores, result.scores)
        assert (loaded.quantity, loaded.direction, loaded.provenance) == (score.value, result.direction, result.provenance)


def test_no_gap_without_guidance_in_a_sentence():
    recorder = FreeRecorder(GAP, Process.VP)
    recorder.observe(torch.ones(1, 1), torch.ones(1, 1), None, torch.tensor([0.5]))
    with pytest.raises(ValueError, match=r"no condition gap: .* Sample with classifier-free guidance \(a cfg other than 1\)"):
        recorder.result()


def test_too_few_steps_in_a_sentence():
    one = FreeRecorder(FreeOptions(window=StepWindow(0.2, 0.3)), Process.VP)
    one.observe(torch.ones(1, 1), torch.ones(1, 1), None, torch.tensor([0.5]))
    with pytest.raises(ValueError, match=r"trajectory needs 2 of the sampling's steps between 0.2 and 0.3 .* there were 1\. Widen"):
        one.result()
    with pytest.raises(ValueError, match=r"condition_gap needs 1 .* there were 0"):
        FreeRecorder(GAP, Process.VP).result()
