"""What the scores mean on the bundled model: where it is wrong, denoised is high and noise is low; guidance climbs the exact gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from uncertainty_nodes.core.demo.extractor import load_reference
from uncertainty_nodes.core.denoiser import Process, add_noise
from uncertainty_nodes.core.metrics.scores import auroc, bootstrap_interval
from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions, GuidanceMode, GuidanceOptions, GuidanceUnits, Quantity
from uncertainty_nodes.core.pixelwise.aleatoric import estimate_aleatoric_step
from uncertainty_nodes.hosts.diffusers.attach import attach, denoiser, score
from uncertainty_nodes.hosts.diffusers.space import Space

IMAGES = 40


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Real digits, which neither the model nor its judge has seen, and their classes."""
    reference = load_reference()
    return reference.images[:IMAGES], reference.labels[:IMAGES]


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@pytest.mark.parametrize("t", [50, 100, 200])  # sigma / alpha of 0.18, 0.34 and 0.72
def test_per_pixel_denoised_rises_and_noise_falls_with_the_error(demo, digits, t):
    images, labels = digits[0][:24], digits[1][:24]
    denoise = denoiser(*demo, {"class_labels": labels}, len(images))
    sigma = torch.full((len(images),), Space.of(demo[1]).sigma_at(t))
    x = add_noise(images, torch.randn(images.shape, generator=torch.Generator().manual_seed(t)), sigma, Process.VP)
    with torch.no_grad():
        x0 = denoise(x, sigma)
        spread = estimate_aleatoric_step(denoise, x, x0, sigma, Process.VP, AleatoricOptions(), step=0)
    error = (x0 - images).square()
    assert correlation(spread.denoised, error) > 0.3
    assert correlation(spread.noise, error) < -0.04


def glued(images: Tensor, dim: int) -> Tensor:
    """The first half of each digit (2: upper, 3: left) on the second half of the next."""
    return torch.cat([images.narrow(dim, 0, 16), images.roll(1, dims=0).narrow(dim, 16, 16)], dim=dim)


def scores(demo: Any, images: Tensor, labels: Tensor, quantity: Quantity) -> Tensor:
    options = AleatoricOptions(draws=DrawOptions(samples=3), quantity=quantity)
    return score(*demo, images, {"class_labels": labels}, options, count=1).scores


@pytest.mark.parametrize("quantity", Quantity)
def test_per_image_damage_and_wrong_classes_raise_denoised_and_lower_noise(demo, digits, quantity):
    """In the default window; AUROC of the raw score, with a 95 % bootstrap interval over the images."""
    images, labels = digits
    good = scores(demo, images, labels, quantity)
    wrong = (labels + 1 + torch.arange(IMAGES) % 9) % 10
    for bad_images, bad_labels in (images, wrong), (glued(images, 2), labels), (glued(images, 3), labels):
        interval = bootstrap_interval(separation, good, scores(demo, bad_images, bad_labels, quantity))
        if quantity is not Quantity.NOISE:
            assert interval.low > 0.5, interval
        else:
            assert interval.high < 0.5, interval


def separation(good: Tensor, bad: Tensor) -> float:
    return auroc(torch.cat([good, bad]), torch.arange(len(good) + len(bad)) >= len(good))


def test_the_damage_cannot_be_told_by_the_ink(digits):
    """Else a score of brightness would pass the test above."""
    good, *bad = (images.flatten(1).mean(dim=1) for images in (digits[0], glued(digits[0], 2), glued(digits[0], 3)))
    for ink in bad:
        low, high = bootstrap_interval(separation, good, ink)
        assert low < 0.5 < high
        assert 0.4 < separation(good, ink) < 0.6


def test_forward_guidance_climbs_the_exact_gradient(demo, digits):
    """Cosine of at least 0.85 on average over noise levels; the benchmark has all steps of a sampling."""
    network, scheduler = demo
    labels, cosines = digits[1][:4], []
    for t in (800, 440, 160, 20):
        noise = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(t))
        x, corrections = scheduler.add_noise(digits[0][:4], noise, torch.tensor([t])), []
        for mode in (GuidanceMode.FORWARD, GuidanceMode.AUTOGRAD):
            guide = GuidanceOptions(strength=1.0, units=GuidanceUnits.RAW, mode=mode)
            with attach(network, scheduler, guide=guide) as run, torch.no_grad():
                network(x, t, class_labels=labels)
            corrections.append(run.correction.flatten(1))
        cosines.append(torch.cosine_similarity(*corrections, dim=1).mean())
    assert torch.stack(cosines).mean() >= 0.85
