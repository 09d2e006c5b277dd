"""The report as a picture, which stands on whatever ground the page has."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.core.view.summary import summarize
from uncertainty_nodes.hosts.comfyui.view import chart_words
from uncertainty_nodes.hosts.comfyui.view.chart import DROPPED, INK, KEPT, draw_report
from uncertainty_nodes.hosts.comfyui.view.chart_words import CHINESE_TEXTS, ENGLISH, ENGLISH_TEXTS, Words, find_chinese_font

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


def report_of(scores: list[float], direction: Direction = Direction.HIGH_IS_BAD) -> dict[str, Any]:
    values = torch.tensor(scores)
    curve = torch.stack([2 * values, values])
    result = Uncertainty(values[:, None, None], values, curve, torch.tensor([2.0, 1.0]), direction, "denoised", nfe=8.0, seconds=0.5)
    return summarize(result, accepted=[1])


def test_it_has_no_ground_of_its_own_and_no_dark_edges() -> None:
    picture = np.asarray(draw_report(report_of([0.4, 0.1, 0.3])))
    assert picture.shape == (680, 1440, 4) and picture[0, 0, 3] == 0 and picture[..., 3].max() == 255
    soft = picture[(picture[..., 3] > 20) & (picture[..., 3] < 235)][:, :3]
    assert len(soft) and soft.max(1).min() > 110, "no edge is darker than the ink"
    assert Image.fromarray(picture).mode == "RGBA"


def test_both_languages_say_the_same() -> None:
    holes = {key: sorted(re.findall(r"{(\w+)", text)) for key, text in ENGLISH_TEXTS.items()}
    assert holes.pop("failed") == ["sentence"], "the server's sentences are English"
    assert {key: sorted(re.findall(r"{(\w+)", text)) for key, text in CHINESE_TEXTS.items() if key != "failed"} == holes
    report = report_of([0.4, 0.1, math.nan])
    assert ENGLISH.title(report) == "denoised, high = unsure | 3 images | 8 model calls per image | 0.5 s"
    assert ENGLISH.failed(report).startswith("Image 3 of 3 failed")
    chinese = Words(CHINESE_TEXTS)
    assert chinese.title(report) == "denoised，高 = 不确定 | 3 张图像 | 每张图像 8 次模型调用 | 0.5 秒"
    assert chinese.failed(report).startswith("第 3 张图像（共 3 张）失败")
    assert Words(CHINESE_TEXTS).title(report_of([0.4, 0.1, 0.3], Direction.LOW_IS_BAD)).startswith("denoised，低 = 不确定")


def test_a_chinese_font_is_found_where_the_system_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each Chinese letter of the texts is a shape of its own, not the box that stands for what a font lacks."""
    font_file = find_chinese_font.__wrapped__()
    if font_file is not None:
        font = Words(CHINESE_TEXTS, font_file).font(20)
        letters = {letter for text in CHINESE_TEXTS.values() for letter in text if letter > "\u3000"}
        assert len({bytes(font.getmask(letter)) for letter in letters}) == len(letters)
    monkeypatch.setattr(chart_words, "FONTS", ("no such font.ttf",))
    assert find_chinese_font.__wrapped__() is None
