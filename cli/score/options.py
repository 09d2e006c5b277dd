"""What the score command is asked for, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.options import DIRECTION_OF, AleatoricOptions, Direction, ImageScore, InformationOptions, Quantity, StepWindow
from ...hosts.diffusers.demo_images import DemoModel
from ...hosts.diffusers.images import ImageModel, load_model, pipeline_kind
from ..shared.checks import check_device

DEMO = "demo"


@dataclass(frozen=True)
class ScoreOptions:
    """What None leaves open is the default of the score that is asked for."""

    folder: Path
    by: ImageScore = ImageScore.INFORMATION
    model: str = DEMO
    label: int | None = None
    prompt: str | None = None
    negative: str | None = None
    samples: int | None = None
    start_percent: float | None = None
    end_percent: float | None = None
    levels: int = 4
    seed: int = 0
    device: str = "cpu"
    batch: int = 8
    out: Path | None = None

    def __post_init__(self) -> None:
        self.measured()  # bad numbers are refused now, not after the model was loaded
        if self.path.suffix != ".json":
            raise ValueError(f"out must end in .json, got {str(self.path)!r}; the table is written beside it.")
        if self.model == DEMO and (self.prompt is not None or self.negative is not None):
            raise ValueError("The demo model knows no prompts; name a digit with --class.")
        if self.model != DEMO and self.label is not None:
            raise ValueError(f"--class is for the demo model; give --prompt for {self.model!r}.")
        if self.model != DEMO and self.prompt is None:
            raise ValueError("The prompt is missing: give the one that the images were made from with --prompt.")
        if self.negative is not None and self.by is not ImageScore.INFORMATION:
            raise ValueError(f"--negative is what information compares the prompt with; leave it out for {self.by.value}.")
        check_device(self.device)
        if self.model != DEMO:
            pipeline_kind(self.model)

    @property
    def path(self) -> Path:
        return self.out or self.folder / "uncertainty.json"

    @property
    def direction(self) -> Direction:
        return Direction.LOW_IS_BAD if self.by is ImageScore.INFORMATION else DIRECTION_OF[Quantity(self.by.value)]

    def measured(self) -> AleatoricOptions | InformationOptions:
        """The options of the score, every default filled in."""
        if self.by is ImageScore.INFORMATION:
            default = InformationOptions(levels=self.levels)
        else:
            default = AleatoricOptions(quantity=Quantity(self.by.value))
        samples, start, end, window = self.samples, self.start_percent, self.end_percent, default.window
        draws = replace(default.draws, samples=default.draws.samples if samples is None else samples, seed=self.seed)
        window = StepWindow(window.start if start is None else start, window.end if end is None else end)
        return replace(default, draws=draws, window=window)

    def exact(self) -> dict[str, Any]:
        """All that a score depends on, for an earlier run to be told from another; a folder that moves with its scores stays the same."""
        folder, base, options = self.folder.resolve(), self.path.resolve().parent, self.measured()
        return {
            "folder": folder.relative_to(base).as_posix() if folder.is_relative_to(base) else folder.as_posix(),
            "model": self.model if self.model == DEMO else Path(self.model).resolve().as_posix(),
            "by": self.by.value,
            "class": self.label,
            "prompt": self.prompt,
            "negative": self.negative,
            "samples": options.draws.samples,
            "start_percent": options.window.start,
            "end_percent": options.window.end,
            "levels": self.levels,
            "seed": self.seed,
            "device": self.device,
        }

    @property
    def nfe(self) -> int:
        """Model calls an image."""
        return self.measured().draws.samples * self.levels * (2 if self.by is ImageScore.INFORMATION else 1)

    def load(self) -> ImageModel:
        return DemoModel(self.device) if self.model == DEMO else load_model(self.model, self.prompt, self.negative or "", self.device)
