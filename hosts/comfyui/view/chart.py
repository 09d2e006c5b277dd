"""A report as one picture, for people who see no widget: App Mode, the history, other programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from PIL import Image, ImageDraw

from .chart_words import ENGLISH, Words

Summary = dict[str, Any]  # core.view.summary.summarize

SIZE = (720, 340)
SCALE, SMOOTH = 2, 2  # pixels of the picture for each of these; how much larger it is drawn, so that lines have no steps
GRID, INK = "#808080", "#7c7c7c"  # the ground is the page's, dark in one theme and white in the other: these can be read on both
CLEAR = (0x7C, 0x7C, 0x7C, 0)  # INK without any, or soft edges would be black
KEPT, DROPPED = "#2f8fce", "#cc7000"  # told apart by all kinds of colour vision, on both
SHOWN_CURVES = 64


@dataclass(frozen=True)
class Panel:
    """A rectangle of the picture, and the data range that it shows. log: the vertical axis."""

    left: int
    top: int
    right: int
    bottom: int
    low: float
    high: float
    log: bool = False

    def x(self, fraction: float) -> float:
        return self.left + fraction * (self.right - self.left)

    def y(self, value: float) -> float:
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.bottom - (value - low) / ((high - low) or 1.0) * (self.bottom - self.top)


class Pen:
    """Draws in units of ``SIZE``, on a picture that is several times as large, and writes ``words``."""

    def __init__(self, times: int, words: Words = ENGLISH) -> None:
        self.times, self.words = times, words
        self.image = Image.new("RGBA", (SIZE[0] * times, SIZE[1] * times), CLEAR)
        self.draw = ImageDraw.Draw(self.image)

    def line(self, points: Sequence[tuple[float, float]], fill: str, width: float) -> None:
        if len(points) < 2:  # of an image that failed
            return
        self.draw.line([self._at(point) for point in points], fill, round(width * self.times), joint="curve")

    def box(self, corners: Sequence[tuple[float, float]], fill: str) -> None:
        self.draw.rectangle([self._at(corner) for corner in corners], fill)

    def text(self, at: tuple[float, float], words: str, fill: str, size: int, anchor: str = "la") -> None:
        self.draw.text(self._at(at), words, fill, self.words.font(size * self.times), anchor)

    def _at(self, point: tuple[float, float]) -> tuple[float, float]:
        return point[0] * self.times, point[1] * self.times


def draw_report(summary: Summary, words: Words = ENGLISH) -> Image.Image:
    """Score per step of each image, and how the scores are spread, with the line of the filter."""
    pen = Pen(SCALE * SMOOTH, words)
    pen.text((16, 12), words.title(summary), INK, 15)
    if summary["failed"]:
        pen.text((64, 301), shorten(words.failed(summary), 110, placeholder=" ..."), INK, 11)
    has_curve = len(summary.get("sigmas", ())) > 1
    if has_curve:
        draw_curves(pen, summary, (64, 70, 350, 280))
    left = 420 if has_curve else 64
    draw_histogram(pen, summary, (left, 70, left + 280, 280))
    draw_legend(pen, summary)
    return pen.image.reduce(SMOOTH)


def draw_curves(pen: Pen, summary: Summary, box: tuple[int, int, int, int]) -> None:
    values = [v for image in summary["curve"] for v in image if v is not None]
    if not values:
        return
    log = min(values) > 0 and max(values) > 20 * min(values)
    panel = Panel(*box, min(values) if log else min(0.0, *values), max(values), log)
    first, last = (f"{summary['sigmas'][i]:.3g}" for i in (0, -1))
    frame(pen, panel, pen.words.say("curves"), pen.words.say("noise", value=first), last)
    for label, value in ((f"{panel.high:.3g}", panel.high), (f"{panel.low:.3g}", panel.low)):
        pen.text((panel.left - 6, panel.y(value)), label, INK, 11, anchor="rm")
    steps = len(summary["sigmas"]) - 1
    for image, curve in list(enumerate(summary["curve"]))[:SHOWN_CURVES]:
        points = [(panel.x(i / steps), panel.y(v)) for i, v in enumerate(curve) if v is not None]
        pen.line(points, colour(summary, image), 2)


def draw_histogram(pen: Pen, summary: Summary, box: tuple[int, int, int, int]) -> None:
    edges, kept, dropped = (summary["histogram"][name] for name in ("edges", "kept", "dropped"))
    if not edges:
        pen.text((box[0], box[1]), pen.words.say("nothing"), INK, 13)
        return
    highest = max(k + d for k, d in zip(kept, dropped, strict=True))
    panel = Panel(*box, 0, highest)
    caption = pen.words.say("spread", end=pen.words.say(summary["direction"]))
    frame(pen, panel, caption, f"{edges[0]:.3g}", f"{edges[-1]:.3g}")
    pen.text((panel.left - 6, panel.top), str(highest), INK, 11, anchor="rm")
    for i, (k, d) in enumerate(zip(kept, dropped, strict=True)):
        sides = panel.x(i / len(kept)) + 1, panel.x((i + 1) / len(kept)) - 1
        for low, high, fill in ((0, k, KEPT), (k, k + d, DROPPED)):
            if high > low:
                pen.box([(sides[0], panel.y(high)), (sides[1], panel.y(low))], fill)
    if summary["line"] is not None and edges[0] <= summary["line"] <= edges[-1]:
        at = panel.x((summary["line"] - edges[0]) / (edges[-1] - edges[0]))
        pen.line([(at, panel.top - 6), (at, panel.bottom)], INK, 2)
        pen.text((at, panel.top - 8), f"{summary['line']:.3g}", INK, 11, anchor="mb")


def draw_legend(pen: Pen, summary: Summary) -> None:
    accepted, count = summary["accepted"], len(summary["scores"])
    if accepted is None:
        return
    for x, fill, side, number in ((64, KEPT, "accepted", len(accepted)), (220, DROPPED, "rejected", count - len(accepted))):
        pen.box([(x, 318), (x + 10, 328)], fill)
        pen.text((x + 16, 323), pen.words.say(side, count=number), INK, 12, anchor="lm")


def frame(pen: Pen, panel: Panel, title: str, left: str, right: str) -> None:
    pen.line([(panel.left, panel.top), (panel.left, panel.bottom), (panel.right, panel.bottom)], GRID, 1)
    pen.text((panel.left, panel.top - 22), title, INK, 12, anchor="lb")
    pen.text((panel.left, panel.bottom + 6), left, INK, 11)
    pen.text((panel.right, panel.bottom + 6), right, INK, 11, anchor="ra")


def colour(summary: Summary, image: int) -> str:
    return KEPT if summary["accepted"] is None or image in summary["accepted"] else DROPPED
