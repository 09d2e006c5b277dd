"""What the report's picture says: English, or Chinese where the machine has a font that can write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import ImageFont

Summary = dict[str, Any]  # core.view.summary.summarize

ENGLISH_TEXTS = {
    "title": "{quantity}, {end} | {count} images | {nfe:g} model calls per image | {seconds:.3g} s",
    "title_of_one": "{quantity}, {end} | 1 image | {nfe:g} model calls per image | {seconds:.3g} s",
    "high_is_bad": "high = unsure",
    "low_is_bad": "low = unsure",
    "curves": "score at each measured step",
    "noise": "noise {value}",
    "spread": "images by score ({end})",
    "nothing": "no score is a finite number",
    "accepted": "accepted: {count}",
    "rejected": "rejected: {count}",
    "failed": "{sentence}",
}
CHINESE_TEXTS = {
    "title": "{quantity}，{end} | {count} 张图像 | 每张图像 {nfe:g} 次模型调用 | {seconds:.3g} 秒",
    "title_of_one": "{quantity}，{end} | 1 张图像 | 每张图像 {nfe:g} 次模型调用 | {seconds:.3g} 秒",
    "high_is_bad": "高 = 不确定",
    "low_is_bad": "低 = 不确定",
    "curves": "每个测量步的分数",
    "noise": "噪声 {value}",
    "spread": "按分数统计的图像（{end}）",
    "nothing": "没有分数是有限数值",
    "accepted": "接受：{count}",
    "rejected": "拒绝：{count}",
    "failed": "第 {images} 张图像（共 {count} 张）失败：模型给出了非有限数值（NaN）。失败的图像没有分数，排名最后并被拒绝。",
}
# Chinese ones. Pillow looks for them where the system keeps its fonts.
WINDOWS = ("msyh.ttc", "simhei.ttf")
MACOS = ("PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Light.ttc")
LINUX = ("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf")
FONTS = (*WINDOWS, *MACOS, *LINUX)


@dataclass(frozen=True)
class Words:
    """texts: by what they are for.   font_file: that can write them; None is Pillow's own, which has Latin letters only."""

    texts: Mapping[str, str]
    font_file: str | None = None

    def say(self, key: str, **values: Any) -> str:
        return self.texts[key].format(**values)

    def font(self, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        return ImageFont.load_default(size) if self.font_file is None else ImageFont.truetype(self.font_file, size)

    def title(self, summary: Summary) -> str:
        """Quantity, direction, number of images and price of a result."""
        count = len(summary["scores"])
        values = {name: summary[name] for name in ("quantity", "nfe", "seconds")}
        return self.say("title_of_one" if count == 1 else "title", **values, count=count, end=self.say(summary["direction"]))

    def failed(self, summary: Summary) -> str:
        """Which images have no score."""
        images = "、".join(str(i + 1) for i, score in enumerate(summary["scores"]) if score is None)
        return self.say("failed", sentence=summary["failed"], images=images, count=len(summary["scores"]))


ENGLISH = Words(ENGLISH_TEXTS)


def words_in(language: object) -> Words:
    """Chinese for "zh" where a font here can write it, else English."""
    font_file = find_chinese_font() if language == "zh" else None
    return ENGLISH if font_file is None else Words(CHINESE_TEXTS, font_file)


@cache
def find_chinese_font() -> str | None:
    """A font file of this machine that has Chinese letters; None where it has none that we know."""
    for name in FONTS:
        try:
            return str(ImageFont.truetype(name).path)
        except OSError:
            continue
    return None
