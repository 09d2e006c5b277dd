"""The bundled model on diffusers: each image starts from a seed of its own, and bad input is refused in a sentence."""

from __future__ import annotations

import pytest
import torch

from uncertainty_nodes.core.options import MAX_SEED
from uncertainty_nodes.hosts.diffusers.demo import load_demo, sample, starting_noise


def test_an_image_starts_the_same_in_every_batch():
    together = starting_noise(5, seed=3)
    assert torch.equal(starting_noise(2, seed=3, first=3), together[3:])
    assert len({tuple(noise.flatten()[:4].tolist()) for noise in torch.cat([together, starting_noise(5, seed=4)])}) == 10
    assert together.std() == pytest.approx(1, abs=0.05)


def test_every_seed_is_good():
    assert starting_noise(1, MAX_SEED).isfinite().all()
    for seed in (-1, MAX_SEED + 1, 0.5):
        with pytest.raises(ValueError, match="seed must be"):
            starting_noise(1, seed)


@pytest.mark.parametrize(
    ("images", "labels", "steps", "sentence"),
    [
        (0, [], 5, "at least one: got 0 noises"),
        (2, [1], 5, r"one label per starting noise, at least one: got 2 noises and labels \(1,\)"),
        (1, [1], 0, "steps must be between 1 and 1000, got 0"),
        (1, [1], 2.5, "steps must be a whole number"),
    ],
)
def test_bad_input_is_refused(demo, images, labels, steps, sentence):
    with pytest.raises(ValueError, match=sentence):
        sample(*demo, starting_noise(2, 0)[:images], torch.tensor(labels), steps)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_samples_in_half_precision_are_close_to_those_in_full(demo, dtype):
    noise, labels = starting_noise(1, 0), torch.tensor([3])
    full, half = sample(*demo, noise, labels, 4), sample(*load_demo(dtype=dtype), noise, labels, 4)
    assert half.dtype == torch.float32
    assert (full - half).abs().mean() < 0.1
