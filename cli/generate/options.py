"""What the generate command is asked for, checked before anything is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.demo.network import LAPLACE
from ...core.last_layer.laplace import Laplace
from ...core.options import (
    AleatoricOptions,
    BayesDiffOptions,
    Direction,
    DrawOptions,
    DropoutOptions,
    GenerativeOptions,
    InformationOptions,
    Quantity,
    SamplingScore,
)
from ...hosts.diffusers.demo import CLASSES
from ...hosts.diffusers.draw import DemoDrawer, Drawer, PipelineDrawer, ScoredBy, bundled_encoder
from ...hosts.diffusers.image_encoders import clip_encoder
from ...hosts.diffusers.images import pipeline_kind
from ..shared.checks import check_device

DEMO = "demo"
BY_POSTERIOR = (SamplingScore.GENERATIVE, SamplingScore.BAYESDIFF)


@dataclass(frozen=True)
class GenerateOptions:
    """What None leaves open is the default of the model or method."""

    method: SamplingScore = SamplingScore.INFORMATION
    model: str = DEMO
    label: int | None = None
    prompt: str | None = None
    prompts: Path | None = None
    negative: str | None = None
    guidance_scale: float | None = None
    images: int = 16
    keep: int | None = None
    each: bool = False
    steps: int = 50
    members: int = 5
    member_steps: int = 10
    encoder: str | None = None
    samples: int | None = None
    every: int = 5
    laplace: Path | None = None
    prior_precision: float | None = None
    noise_variance: float | None = None
    seed: int = 0
    batch: int = 8
    device: str = "cpu"
    out: Path = Path("out/generate")

    def __post_init__(self) -> None:
        self.measured()  # bad numbers are refused now, not after the model was loaded
        if self.keep is not None and self.keep > self.images:
            raise ValueError(f"keep must be at most the number of images, {self.images}, got {self.keep}.")
        if next(p for p in [self.out, *self.out.parents] if p.exists()).is_file():
            raise ValueError(f"out must be a folder, but {str(self.out)!r} lies in or is a file; choose another.")
        self._check_demo() if self.model == DEMO else self._check_pipeline()
        if self.laplace is not None and not self.laplace.is_file():
            raise FileNotFoundError(f"There is no file {str(self.laplace)!r}; make one with fit-laplace.")
        check_device(self.device)

    def _check_demo(self) -> None:
        if self.prompt is not None or self.prompts is not None or self.negative is not None:
            raise ValueError("The demo model knows no prompts; name a digit with --class.")

    def _check_pipeline(self) -> None:
        pipeline_kind(self.model)
        if self.label is not None:
            raise ValueError(f"--class is for the demo model; give --prompt for {self.model!r}.")
        if self.prompt is None and self.prompts is None:
            raise ValueError("The prompt is missing: say what to draw with --prompt or --prompts.")
        if self.method in BY_POSTERIOR and self.laplace is None:
            raise ValueError(f"{self.method.value} needs the model's posterior: make it with fit-laplace and name it with --laplace.")
        if self.method is SamplingScore.GENERATIVE and self.encoder is None:
            raise ValueError("generative needs to see what the images mean: name the folder of a CLIP image model with --encoder.")
        self.shown()

    @property
    def kept(self) -> int:
        return round(0.75 * self.images) if self.keep is None else self.keep

    @property
    def direction(self) -> Direction:
        low = (SamplingScore.INFORMATION, SamplingScore.NOISE)
        return Direction.LOW_IS_BAD if self.method in low else Direction.HIGH_IS_BAD

    def shown(self) -> Sequence[int | str]:
        """What image 0, 1, 2, .. is to show, in turn. Raises ValueError for a file without a prompt."""
        if self.model == DEMO:
            return range(CLASSES) if self.label is None else [self.label]
        if self.prompts is None:
            return [self.prompt]
        try:
            lines = [line.strip() for line in self.prompts.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{str(self.prompts)!r} can't be read as text ({error}); give a file with one prompt a line.") from error
        if not any(lines):
            raise ValueError(f"There is no prompt in {str(self.prompts)!r}; write one a line.")
        return [line for line in lines if line]

    def measured(self) -> InformationOptions | GenerativeOptions | BayesDiffOptions | DropoutOptions | AleatoricOptions:
        """The options of the method, every default filled in."""
        if self.method is SamplingScore.INFORMATION:
            default = InformationOptions()
            return replace(default, draws=replace(default.draws, samples=self.samples or default.draws.samples, seed=self.seed))
        if self.method is SamplingScore.GENERATIVE:
            return GenerativeOptions(self.members, member_steps=self.member_steps, seed=self.seed)
        if self.method is SamplingScore.BAYESDIFF:
            return BayesDiffOptions(DrawOptions(self.samples or 10, self.seed), self.every)
        draws = DrawOptions(self.samples or 5, self.seed)
        if self.method is SamplingScore.MC_DROPOUT:
            return DropoutOptions(draws)
        return AleatoricOptions(draws=draws, quantity=Quantity(self.method.value))

    def exact(self) -> dict[str, Any]:
        """All that an image and its score depend on, beside its number, for an earlier run to be told from another."""
        return {
            "method": self.method.value,
            "model": self.model if self.model == DEMO else Path(self.model).resolve().as_posix(),
            "shown": list(self.shown()),
            "negative": self.negative,
            "guidance_scale": self.guidance_scale,
            "steps": self.steps,
            "measured": repr(self.measured()),
            "posterior": self._posterior_named(),
            "encoder": None if self.encoder is None else Path(self.encoder).resolve().as_posix(),
            "seed": self.seed,
            "device": self.device,
        }

    def _posterior_named(self) -> str | None:
        if self.method not in BY_POSTERIOR:
            return None
        fit = self.posterior().options
        return f"{hashlib.sha256((self.laplace or LAPLACE).read_bytes()).hexdigest()[:16]} {fit.prior_precision:g} {fit.noise_variance:g}"

    def posterior(self) -> Laplace:
        fit = Laplace.load(self.laplace or LAPLACE)
        named = {"prior_precision": self.prior_precision, "noise_variance": self.noise_variance}
        return replace(fit, options=replace(fit.options, **{name: value for name, value in named.items() if value is not None}))

    def scored_by(self) -> ScoredBy:
        laplace = self.posterior() if self.method in BY_POSTERIOR else None
        encode = None
        if self.method is SamplingScore.GENERATIVE:
            encode = bundled_encoder if self.encoder is None else clip_encoder(self.encoder, self.device)
        return ScoredBy(self.measured(), laplace, encode)

    def load(self) -> Drawer:
        if self.model == DEMO:
            return DemoDrawer.load(self.shown(), self.seed, self.guidance_scale, self.device)
        named = {"negative_prompt": self.negative, "guidance_scale": self.guidance_scale}
        settings = {name: value for name, value in named.items() if value is not None}
        return PipelineDrawer.load(self.model, self.shown(), self.seed, settings, self.device)
