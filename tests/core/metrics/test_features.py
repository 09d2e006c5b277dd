"""FID, precision and recall, against scipy, torchmetrics, closed forms and a double loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.image.fid import FrechetInceptionDistance

from references_metrics import covered, frechet
from uncertainty_nodes.core.files import save_tensors
from uncertainty_nodes.core.metrics import features as module
from uncertainty_nodes.core.metrics.features import FeatureStatistics, frechet_distance, precision_recall


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of(features):
    return FeatureStatistics.of(features, "tiny")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(10, 30))
def test_fid_is_the_printed_formula(seed, dim, count):
    a, b = random(seed, count, dim), 0.5 + random(seed + 1, count + 3, dim) @ random(seed + 2, dim, dim)
    assert frechet_distance(of(a), of(b)) == pytest.approx(frechet(a.numpy(), b.numpy()), rel=1e-6)


class Mean(torch.nn.Module):
    """An extractor of 3 features, to run torchmetrics without a download."""

    def forward(self, images):
        return images.double().mean(dim=(2, 3))


def test_fid_is_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randint(0, high, (20, 3, 8, 8), generator=generator, dtype=torch.uint8) for high in (255, 200))
    metric = FrechetInceptionDistance(feature=Mean(), input_img_size=(3, 8, 8))
    metric.update(real, real=True)
    metric.update(fake, real=False)
    assert frechet_distance(of(Mean()(real)), of(Mean()(fake))) == pytest.approx(float(metric.compute()), rel=1e-4)


def test_fid_of_known_gaussians():
    # covariances c^2 I: |mu|^2 + D (c_a - c_b)^2
    a = FeatureStatistics(101, torch.zeros(5, dtype=torch.float64), 100 * 4.0 * torch.eye(5, dtype=torch.float64), "tiny")
    b = FeatureStatistics(11, torch.full((5,), 2.0, dtype=torch.float64), 10 * 9.0 * torch.eye(5, dtype=torch.float64), "tiny")
    assert frechet_distance(a, b) == pytest.approx(5 * 4 + 5 * 1)


def test_fid_of_few_images_in_many_dimensions_is_zero_for_the_same_and_symmetric():
    a, b = of(random(0, 5, 40)), of(random(1, 4, 40))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))
    assert frechet_distance(a, b) > 1


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.floats(-1e4, 1e4))
def test_batches_add_up(sizes, offset):
    features = offset + random(0, sum(sizes), 3)
    first, *rest = (of(batch) for batch in features.split(sizes))
    for statistics in rest:
        first = first.merge(statistics)
    assert first.count == len(features)
    np.testing.assert_allclose(first.mean.numpy(), features.numpy().mean(0), rtol=1e-9)
    if len(features) > 1:
        np.testing.assert_allclose(first.covariance.numpy(), np.cov(features.numpy(), rowvar=False), rtol=1e-6, atol=1e-7)


def test_save_and_load(tmp_path):
    before = of(random(0, 9, 4))
    before.save(tmp_path / "s")
    after = FeatureStatistics.load(tmp_path / "s")
    assert frechet_distance(before, after) == pytest.approx(0, abs=1e-9)
    assert (after.count, after.extractor) == (9, "tiny")
    save_tensors(tmp_path / "other", {"mean": torch.zeros(1)}, "feature statistics", 1, {})
    with pytest.raises(ValueError, match="not a whole saved feature statistics"):
        FeatureStatistics.load(tmp_path / "other")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 12), st.integers(4, 12), st.integers(1, 3))
def test_precision_and_recall_are_a_double_loop(seed, reals, fakes, k):
    real, fake = random(seed, reals, 2), random(seed + 1, fakes, 2) + 0.7
    result = precision_recall(real, fake, k)
    assert result.precision == pytest.approx(covered(fake.tolist(), real.tolist(), k))
    assert result.recall == pytest.approx(covered(real.tolist(), fake.tolist(), k))


def test_precision_and_recall_of_copies_strangers_and_a_part():
    real = random(0, 40, 3)
    assert precision_recall(real, real) == (1, 1)
    assert precision_recall(torch.ones(9, 3), torch.ones(9, 3)) == (1, 1)
    copies = random(2, 5, 64).repeat(4, 1) + 1e3
    assert precision_recall(copies, copies.flip(0)) == (1, 1)
    assert precision_recall(copies, copies + 0.01) == (0, 0)
    assert precision_recall(real, real + 1000) == (0, 0)
    part = precision_recall(torch.cat([real, real + 1000]), real)
    assert part == (1, 0.5)


def test_copies_count_although_their_distances_are_rounded(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 7)  # products of other shapes round differently
    for seed in range(4):
        real = random(seed, 40, 333)
        assert precision_recall(real.repeat(2, 1), real[:9], k=1).precision == 1


def test_chunks_do_not_matter(monkeypatch):
    real, fake = random(0, 30, 4), random(1, 25, 4)
    whole = precision_recall(real, fake)
    monkeypatch.setattr(module, "CHUNK", 7)
    assert precision_recall(real, fake) == whole
    assert 0 < whole.precision < 1


def nan(*shape):
    return torch.full(shape, math.nan)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: of(torch.zeros(3)), r"shape \(N, D\) .* got \(3,\)"),
        (lambda: of(torch.zeros(0, 3)), "at least 1"),
        (lambda: of(nan(2, 3)), "finite"),
        (lambda: frechet_distance(of(torch.zeros(1, 3)), of(torch.zeros(2, 3))), "at least 2 images, got 1"),
        (lambda: frechet_distance(of(torch.zeros(2, 3)), of(torch.zeros(2, 4))), "cannot be compared"),
        (lambda: of(torch.zeros(2, 3)).merge(FeatureStatistics.of(torch.zeros(2, 3), "other")), "'tiny' .* 'other'"),
        (lambda: precision_recall(torch.zeros(3, 2), torch.zeros(9, 2)), r"real features .* at least 4, got \(3, 2\)"),
        (lambda: precision_recall(torch.zeros(9, 2), nan(9, 2)), "generated features must be finite"),
        (lambda: precision_recall(torch.zeros(9, 2), torch.zeros(9, 3)), "one length, got 2 for real and 3"),
        (lambda: precision_recall(torch.zeros(9, 2), torch.zeros(9, 2), k=0), "at least 1, got 0"),
    ],
)
def test_bad_input_is_a_sentence(call, match):
    with pytest.raises(ValueError, match=match):
        call()
