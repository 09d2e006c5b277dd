"""What the demo command is asked for, checked before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...core.options import DrawOptions, GuidanceOptions, bounds, check_fields
from ...core.options.limits import IMAGES, PERCENT, SEED, STEPS
from ..shared.checks import check_folder


@dataclass(frozen=True)
class DemoOptions:
    """strengths: of guidance, compared with none. drop: percent of the images to reject."""

    out: Path
    images: int = replace(IMAGES, default=64, low=2).field()
    steps: int = replace(STEPS, default=50).field()
    samples: int = bounds(DrawOptions, "samples").field()
    strengths: tuple[float, ...] = tuple(factor * GuidanceOptions.strength for factor in (0.5, 1, 2))
    drop: float = replace(PERCENT, default=25.0).field()
    seed: int = SEED.field()
    device: str = "cpu"
    command: str = "uncertainty-nodes demo"

    def __post_init__(self) -> None:
        check_fields(self)
        for strength in self.strengths:
            GuidanceOptions(strength=strength)  # refused now, not after minutes of drawing
        check_folder(self.out)
