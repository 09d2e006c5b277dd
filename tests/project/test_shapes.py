"""The drawn shapes of the benchmarks and the rule that judges them."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("scipy", reason="the judge of the drawn shapes needs scipy: pip install -e .[dev]")

from uncertainty_nodes.benchmarks.shared.other_models.shapes import CLASSES, MOST, draw_shapes, is_right, judge

LABELS = torch.arange(200) % CLASSES


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return draw_shapes(LABELS, 3)


def test_the_judge_agrees_with_what_was_drawn(pictures: torch.Tensor) -> None:
    assert is_right(pictures, LABELS).all()
    for picture, label in zip(pictures, LABELS.tolist(), strict=True):
        verdict = judge(picture)
        assert (verdict.count, verdict.colour) == (label % MOST + 1, label // MOST)
    for other in range(1, CLASSES):
        assert not is_right(pictures, (LABELS + other) % CLASSES).any()


def test_the_same_seed_draws_the_same(pictures: torch.Tensor) -> None:
    assert torch.equal(pictures, draw_shapes(LABELS, 3))
    assert not torch.equal(pictures, draw_shapes(LABELS, 4))


def test_faults_are_seen(pictures: torch.Tensor) -> None:
    one = pictures[0].clone()  # one red disc
    assert judge(one).sound
    speck = one.clone()
    y, x = (one[0] < -0.9).nonzero()[0].tolist()
    speck[0, y, x] = 1.0
    assert not judge(speck).sound and judge(speck).count == 2
    grey = one.clone()
    grey[1], grey[2] = one[0], one[0]
    assert not judge(grey).sound
    two = torch.maximum(pictures[0], pictures[5])  # a red and a blue disc, or one of both
    assert not judge(two).sound
    full = torch.full_like(one, -1.0)
    full[0, 5:25, 5:25] = 1.0
    assert judge(full).count == 1 and not judge(full).sound
    assert judge(torch.full_like(one, -1.0)).count == 0


def test_a_little_noise_and_values_out_of_range_change_nothing(pictures: torch.Tensor) -> None:
    noisy = pictures + 0.1 * torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    assert is_right(noisy * 1.05, LABELS).float().mean() > 0.98
