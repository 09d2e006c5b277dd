"""The report as a picture, which stands on whatever ground the page has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.view.summary import summarize_scores
from uncertainty_nodes.hosts.comfyui.view.chart import DROPPED, INK, KEPT, draw_report

TEXT, LARGE = 3.8, 3.0  # to 1; WCAG 2.1 asks for 3 of large letters and of marks, and these letters are large


def luminance(colour: str) -> float:
    """Relative, as WCAG 2.1 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("ground", ["#ffffff", "#202124"])
def test_it_is_read_on_a_light_and_on_a_dark_page(ground: str) -> None:
    assert contrast(INK, ground) > TEXT
    assert min(contrast(KEPT, ground), contrast(DROPPED, ground)) > LARGE


def test_it_has_no_ground_of_its_own_and_no_dark_edges() -> None:
    summary = summarize_scores(torch.tensor([0.4, 0.1, 0.3]), Direction.HIGH_IS_BAD, "denoised", [1], 0.2)
    picture = np.asarray(draw_report(summary, "three images"))
    assert picture.shape == (680, 1440, 4) and picture[0, 0, 3] == 0 and picture[..., 3].max() == 255
    soft = picture[(picture[..., 3] > 20) & (picture[..., 3] < 235)][:, :3]
    assert len(soft) and soft.max(1).min() > 110, "no edge is darker than the ink"
    assert Image.fromarray(picture).mode == "RGBA"
