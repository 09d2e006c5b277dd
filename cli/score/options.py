"""What the score command is asked for, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.options import DIRECTION_OF, AleatoricOptions, Direction, ImageScore, InformationOptions, Quantity, StepWindow
from ...core.options.bounds import check_fields
from ...core.options.limits import BATCH, LEVELS, SEED
from ..shared.checks import DEMO, check_condition
from ..shared.inputs.loading import LoadingOptions
from ..shared.inputs.sources import is_list
from ..shared.notes import settings_code

FILE = "uncertainty.json"  # in the folder of images, unless named otherwise


@dataclass(frozen=True)
class ScoreOptions:
    """What None leaves open is the default of the score that is asked for. folder: of images, or a list of them.

    prompt None: each image's own. out: a folder or a .json file. note: whether scores are written into the images, resume: whether scores
    that an earlier run wrote there are taken as they are. maps: whether the report is left a map of each image.
    """

    folder: Path
    by: ImageScore = ImageScore.INFORMATION
    model: str = DEMO
    label: int | None = None
    prompt: str | None = None
    negative: str | None = None
    samples: int | None = None
    start_percent: float | None = None
    end_percent: float | None = None
    levels: int = LEVELS.field()
    seed: int = SEED.field()
    device: str = "cpu"
    batch: int = BATCH.field()
    out: Path | None = None
    note: bool = False
    resume: bool = False
    maps: bool = False
    loading: LoadingOptions = LoadingOptions()

    def __post_init__(self) -> None:
        check_fields(self)
        self.method()  # bad numbers are refused now, not after the model was loaded
        if self.path.suffix != ".json":
            raise ValueError(f"out must be a folder, or a file that ends in .json, got {str(self.path)!r}; the table is written beside it.")
        check_condition(self.model, self.label, self.prompt is not None or self.negative is not None)
        self.loading.check(self.model)
        if is_list(self.folder) and self.path.with_suffix(".csv") == self.folder:
            raise ValueError(f"The table of results would take the place of {str(self.folder)!r}; give another name with --out.")
        if self.negative is not None and self.by is not ImageScore.INFORMATION:
            raise ValueError(f"--negative is what information compares the prompt with; leave it out for {self.by.value}.")

    @property
    def path(self) -> Path:
        """The JSON file; what has no ending is a folder."""
        if self.out is None and is_list(self.folder):
            return self.folder.with_name(f"{self.folder.stem}.{FILE}")
        out = self.out or self.folder
        return out / FILE if self.out is None or out.is_dir() or not out.suffix else out

    @property
    def by_class(self) -> bool:
        """Whether the images' classes are told by the sub-folders that they are in."""
        return self.model == DEMO and self.label is None

    @property
    def direction(self) -> Direction:
        return Direction.LOW_IS_BAD if self.by is ImageScore.INFORMATION else DIRECTION_OF[Quantity(self.by.value)]

    def method(self) -> AleatoricOptions | InformationOptions:
        """The options of the score, every default filled in."""
        default: AleatoricOptions | InformationOptions
        if self.by is ImageScore.INFORMATION:
            default = InformationOptions(levels=self.levels)
        else:
            default = AleatoricOptions(quantity=Quantity(self.by.value))
        samples, start, end, window = self.samples, self.start_percent, self.end_percent, default.window
        draws = replace(default.draws, samples=default.draws.samples if samples is None else samples, seed=self.seed)
        window = StepWindow(window.start if start is None else start, window.end if end is None else end)
        return replace(default, draws=draws, window=window)

    def fingerprint(self) -> dict[str, Any]:
        """All that a score depends on, for an earlier run to be told from another; a folder that moves with its scores stays the same."""
        folder, base, method = self.folder.resolve(), self.path.resolve().parent, self.method()
        return {
            "folder": folder.relative_to(base).as_posix() if folder.is_relative_to(base) else folder.as_posix(),
            "model": self.model if self.model == DEMO else Path(self.model).resolve().as_posix(),
            "by": self.by.value,
            "class": self.label,
            "prompt": self.prompt,
            "negative": self.negative,
            "samples": method.draws.samples,
            "start_percent": method.window.start,
            "end_percent": method.window.end,
            "levels": self.levels,
            "seed": self.seed,
            "device": self.device,
            **self.loading.fingerprint(),
        }

    def settings(self, label: int | None, prompt: str | None) -> str:
        """A code of all that the score of such an image depends on, wherever it lies and whatever computed it."""
        told = self.fingerprint() | {"class": label, "prompt": prompt, "method": repr(self.method())}
        return settings_code({name: value for name, value in told.items() if name not in ("folder", "device")})

    @property
    def own_prompts(self) -> bool:
        """Whether each image brings its own."""
        return self.model != DEMO and self.prompt is None

    @property
    def nfe(self) -> int:
        """Model calls an image."""
        return self.method().draws.samples * self.levels * (2 if self.by is ImageScore.INFORMATION else 1)
