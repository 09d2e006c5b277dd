"""Pictures side by side, each with words above and below: what sweeps are looked at in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

BACK, INK, SOFT = "#202124", "#e8eaed", "#a8adb5"
LEAST_WIDTH, LONGEST_SIDE = 224, 8192  # pixels: words must be readable, and a grid of many large pictures must stay a picture
GAP, LINE_HEIGHT, SMALLEST_TEXT, LEAST_TEXT = 12, 1.35, 8, 16
LINES_PER_SIDE = 64  # of a sheet, which is looked at in a node of some 900 pixels


@dataclass(frozen=True)
class Cell:
    """One picture, (H, W, 3) in [0, 1], with the lines above and below it."""

    picture: Tensor
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()


def draw_grid(cells: Sequence[Cell], columns: int, title: str = "") -> Tensor:
    """An IMAGE (1, H, W, 3) of all cells in rows of ``columns``. Proportions are kept; small pictures are enlarged."""
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    width, height = picture_size(cells, columns, len(rows))
    size = font_size(cells, width, max(columns * width, len(rows) * height))
    heads = [max(len(cell.above) for cell in row) for row in rows]
    feet = [max(len(cell.below) for cell in row) for row in rows]
    line, top = round(size * LINE_HEIGHT), GAP
    if title:
        top += line + GAP
    total = top + sum((head + foot) * line + height + 2 * GAP for head, foot in zip(heads, feet, strict=True))
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, total), BACK)
    pen = ImageDraw.Draw(sheet)
    pen.fontmode = "L"
    text(pen, (GAP, GAP), title, SOFT, fitting_size([title], size, columns * (width + GAP) - GAP))
    for row, head, foot in zip(rows, heads, feet, strict=True):
        for place, cell in enumerate(row):
            left = GAP + place * (width + GAP)
            for number, words in enumerate(cell.above):
                text(pen, (left, top + number * line), shortened(words, size, width), SOFT if number else INK, size)
            sheet.paste(to_pil(cell.picture, width, height), (left, top + head * line))
            for number, words in enumerate(cell.below):
                below = top + head * line + height + GAP // 3 + number * line
                text(pen, (left, below), shortened(words, size, width), INK, size)
        top += (head + foot) * line + height + 2 * GAP
    return torch.from_numpy(np.asarray(sheet, dtype=np.float32) / 255)[None]


def text(pen: ImageDraw.ImageDraw, at: tuple[float, float], words: str, fill: str, size: int) -> None:
    pen.text(at, words, fill, ImageFont.load_default(size))


def picture_size(cells: Sequence[Cell], columns: int, rows: int) -> tuple[int, int]:
    """Width and height that every picture is fitted into."""
    width = max(cell.picture.shape[1] for cell in cells)
    height = max(cell.picture.shape[0] for cell in cells)
    larger = max(1, math.ceil(LEAST_WIDTH / width))
    scale = min(larger, LONGEST_SIDE / (columns * width), LONGEST_SIDE / (rows * height))
    return max(1, int(width * scale)), max(1, int(height * scale))


def font_size(cells: Sequence[Cell], width: int, longest_side: int) -> int:
    """One for all words: readable where the whole sheet is seen, and no more than a quarter smaller for the sake of a long line."""
    lines = [words for cell in cells for words in (*cell.above, *cell.below)]
    wanted = max(LEAST_TEXT, min(longest_side // LINES_PER_SIDE, width // 10))
    return max(wanted * 3 // 4, fitting_size(lines, wanted, width))


def fitting_size(lines: Sequence[str], wanted: int, width: int) -> int:
    """``wanted``, or less where the longest line would not fit into ``width``."""
    widest = max((ImageFont.load_default(wanted).getlength(words) for words in lines), default=0.0)
    return wanted if widest <= width else max(SMALLEST_TEXT, int(wanted * width / widest))


def shortened(words: str, size: int, width: int) -> str:
    """One line that fits: where it is too long its two ends, which tell one file name from the next."""
    words = " ".join(words.split())
    font = ImageFont.load_default(size)
    length = font.getlength(words)
    count = len(words) if length <= width else int(len(words) * width / length)
    line = words
    while count > 1 and font.getlength(line) > width:
        count -= 1
        line = f"{words[: count - count // 2]}…{words[len(words) - count // 2 :]}"
    return line


def to_pil(picture: Tensor, width: int, height: int) -> Image.Image:
    """Fitted into width x height, in its own proportions and in the middle."""
    pixels = (picture[..., :3].detach().float().nan_to_num().clamp(0, 1) * 255).round().byte().cpu().numpy()
    image = Image.fromarray(pixels)
    scale = min(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    if size != image.size:
        image = image.resize(size, Image.Resampling.NEAREST if scale > 1 and scale == int(scale) else Image.Resampling.LANCZOS)
    framed = Image.new("RGB", (width, height), BACK)
    framed.paste(image, ((width - size[0]) // 2, (height - size[1]) // 2))
    return framed
