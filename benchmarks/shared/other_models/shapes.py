"""Drawn pictures with an exact judge: one to five discs, all red or all blue, and a rule that counts them.

A classifier that judges a model's pictures errs as networks err. Here the judge is no network: it counts connected areas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

SIZE = 32
MOST = 5  # discs in a picture; class = (discs - 1) + 5 * colour
COLOURS = ((1.0, 0.1, 0.1), (0.1, 0.3, 1.0))  # red and blue; the background is black
CLASSES = MOST * len(COLOURS)
NAMES = tuple(f"{count} {colour}" for colour in ("red", "blue") for count in range(1, MOST + 1))
RADIUS = (2.5, 4.0)
GAP = 2.0  # between discs, and to the edge
SEEN = 0.4  # brightness from which a pixel belongs to a disc
AREA = (0.7 * np.pi * RADIUS[0] ** 2, 1.3 * np.pi * RADIUS[1] ** 2)  # of a disc, in pixels


def draw_shapes(labels: Tensor, seed: int) -> Tensor:
    """Pictures of classes (N,): (N, 3, 32, 32) in [-1, 1]. Discs have soft edges, and neither touch nor leave the picture."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([_draw(int(label), rng) for label in labels])).float() * 2 - 1


def _draw(label: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    cover = np.zeros((SIZE, SIZE))
    for cx, cy, radius in _places(label % MOST + 1, rng):
        cover = np.maximum(cover, np.clip(radius + 0.5 - np.hypot(x - cx, y - cy), 0, 1))
    return cover * np.array(COLOURS[label // MOST])[:, None, None]


def _places(count: int, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Discs (x, y, radius), one after the other where there is room; all anew when one finds none."""
    discs: list[tuple[float, float, float]] = []
    tries = 0
    while len(discs) < count:
        radius = rng.uniform(*RADIUS)
        x, y = rng.uniform(radius + GAP, SIZE - radius - GAP, 2)
        if all(np.hypot(x - a, y - b) > radius + r + GAP for a, b, r in discs):
            discs.append((x, y, radius))
        tries += 1
        if tries % 200 == 0:
            discs = []
    return discs


@dataclass(frozen=True)
class Verdict:
    """count: areas in the picture. sound: each is as large as a disc and of one and the same colour; colour: its number, or -1."""

    count: int
    colour: int
    sound: bool


def judge(picture: Tensor) -> Verdict:
    """Of one picture (3, 32, 32) in [-1, 1]: connected areas brighter than SEEN, their sizes and mean colours."""
    pixels = ((picture.float() + 1) / 2).clamp(0, 1).numpy()
    areas, count = ndimage.label(pixels.max(axis=0) > SEEN)
    if count == 0:
        return Verdict(0, -1, False)
    numbers = np.arange(1, count + 1)
    sizes = ndimage.sum_labels(np.ones_like(areas), areas, numbers)
    means = np.stack([ndimage.mean(channel, areas, numbers) for channel in pixels], axis=1)
    ratios = means / means.max(axis=1, keepdims=True)
    distances = np.abs(ratios[:, None] - np.array(COLOURS)[None]).max(axis=2)
    nearest = distances.argmin(axis=1)
    sound = bool(((sizes >= AREA[0]) & (sizes <= AREA[1])).all() and (distances.min(axis=1) < 0.25).all() and len(set(nearest)) == 1)
    return Verdict(count, int(nearest[0]) if sound else -1, sound)


def is_right(pictures: Tensor, labels: Tensor) -> Tensor:
    """Whether each picture (N, 3, 32, 32) shows what its class (N,) says, and nothing else. (N,) bool"""
    verdicts = [judge(picture) for picture in pictures]
    wanted = [(int(label) % MOST + 1, int(label) // MOST) for label in labels]
    return torch.tensor([v.sound and (v.count, v.colour) == w for v, w in zip(verdicts, wanted, strict=True)])
