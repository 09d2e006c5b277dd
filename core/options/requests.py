"""What one image is asked to be."""

from __future__ import annotations

from dataclasses import dataclass

from .checks import check_whole
from .limits import MAX_SEED, PIXELS

SIDE_UNIT = 8  # latents of all models are at least that much smaller


@dataclass(frozen=True)
class Request:
    """None: what the run says for all images. seed: of the first image that is asked for so; later ones count up. size: width, height."""

    prompt: str
    negative: str | None = None
    seed: int | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.seed is not None:
            check_whole("seed", self.seed, 0, MAX_SEED)
        for name, side in zip(("width", "height"), self.size or (), strict=False):
            check_whole(name, side, SIDE_UNIT, int(PIXELS.high))
            if side % SIDE_UNIT:
                raise ValueError(f"{name} must be a multiple of {SIDE_UNIT}, got {side}.")


def parse_size(text: str) -> tuple[int, int]:
    """The text 768x512 -> (768, 512); one number is a square. Raises ValueError for what is none."""
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) > 2 or not all(side.strip().isdecimal() for side in sides):
        raise ValueError(f'size must be width x height in pixels, such as 768x512, got "{text:.40}".')
    width, height = int(sides[0]), int(sides[-1])
    return Request("", size=(width, height)).size or (width, height)
