"""What the generate command is asked for, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...core.options import (
    AleatoricOptions,
    BayesDiffOptions,
    Direction,
    DrawOptions,
    DropoutOptions,
    FreeOptions,
    FreeScore,
    GenerativeOptions,
    InformationOptions,
    Quantity,
    Request,
    SamplingScore,
    Scorer,
    SearchMode,
)
from ...core.options.bounds import bounds, check_fields
from ...core.options.limits import BATCH, DIGIT, IMAGES, SEED, STEPS
from ...core.selection.settings import HOST, SCORING_SEED
from ..shared.checks import DEMO, check_condition, check_folder
from ..shared.inputs.loading import LoadingOptions
from ..shared.inputs.prompts import read_prompts
from .search import SearchOptions

FREE = {SamplingScore.TRAJECTORY: FreeScore.TRAJECTORY, SamplingScore.CONDITION_GAP: FreeScore.CONDITION_GAP}
BY_POSTERIOR = (SamplingScore.GENERATIVE, SamplingScore.BAYESDIFF)
KEPT_SHARE = 0.75  # where nobody says how many to keep


@dataclass(frozen=True)
class GenerateOptions:
    """What None leaves open is the default of the model or method. member_steps, every: cheaper than the methods' own defaults.

    maps: whether the report is left a map of each image.
    """

    method: SamplingScore = SamplingScore.INFORMATION
    model: str = DEMO
    label: int | None = None
    prompt: str | None = None
    prompts: Path | None = None
    negative: str | None = None
    guidance_scale: float | None = None
    size: tuple[int, int] | None = None
    images: int = IMAGES.field()
    keep: int | None = None
    each: bool = False
    steps: int = replace(STEPS, default=50).field()
    members: int = bounds(GenerativeOptions, "members").field()
    member_steps: int = replace(bounds(GenerativeOptions, "member_steps"), default=10).field()
    encoder: str | None = None
    samples: int | None = None
    every: int = replace(bounds(BayesDiffOptions, "every"), default=5).field()
    laplace: Path | None = None
    prior_precision: float | None = None
    noise_variance: float | None = None
    seed: int = SEED.field()
    batch: int = BATCH.field()
    device: str = "cpu"
    out: Path = Path("out/generate")
    maps: bool = True
    search: SearchOptions = SearchOptions()
    loading: LoadingOptions = LoadingOptions()

    def __post_init__(self) -> None:
        check_fields(self)
        self.method_options()  # bad numbers are refused now, not after the model was loaded
        if self.keep is not None and self.keep > self.images:
            raise ValueError(f"keep must be at most the number of images, {self.images}, got {self.keep}.")
        self.check_search()
        self.check_gap()
        check_folder(self.out)
        self.loading.check(self.model)
        if self.model == DEMO and self.size is not None:
            raise ValueError("The demo model draws 32 x 32 pixels only; leave out --size.")
        check_condition(self.model, self.label, any(text is not None for text in (self.prompt, self.prompts, self.negative)))
        if self.laplace is not None and not self.laplace.is_file():
            raise FileNotFoundError(f"There is no file {str(self.laplace)!r}; make one with fit-laplace.")

    def check_search(self) -> None:
        """Raises ValueError for what a search can't be asked for beside."""
        if self.search.searches and self.method is not SamplingScore.INFORMATION:
            name = "best_of" if self.search.best_of > 1 else "early_at" if self.search.early_at is not None else "The mode stop"
            raise ValueError(
                f"{name} needs the method information, which scores the finished image; {self.method.value} is measured while one image "
                "is drawn alone. Leave out --method; what the candidates are compared by is --scorer."
            )
        if self.search.mode is SearchMode.STOP:
            self.search.check_calibration(self.known_settings())
        if self.search.mode is SearchMode.RESAMPLE and self.model == DEMO:
            raise ValueError(
                "The demo model's sampler adds no noise, so that copies of a candidate would all end as the same image: leave out --mode, "
                "or name another --model, with a --scheduler such as euler_a."
            )
        if self.search.until_kept is not None and (self.keep is not None or self.each):
            name = "keep" if self.keep is not None else "each"
            raise ValueError(
                f"{name} compares the images with each other, but with until_kept each is judged by itself; leave out --{name}."
            )

    def known_settings(self) -> dict[str, str]:
        """Of what scores depend on, and a calibration is compared by, what is known before the model is loaded."""
        scale = 1.0 if self.model == DEMO and self.guidance_scale is None else self.guidance_scale
        told = {HOST: "diffusers", "steps": str(self.steps), SCORING_SEED: str(DrawOptions().seed)}
        return told | ({} if scale is None else {"cfg": f"{scale:g}"})

    def check_gap(self) -> None:
        """Raises ValueError for drawing without the guidance that the condition gap is made of."""
        compared = self.search.searches and Scorer.CONDITION_GAP in self.search.best_of_options().scorers
        asked = compared or self.method is SamplingScore.CONDITION_GAP
        scale = (1.0 if self.model == DEMO else None) if self.guidance_scale is None else self.guidance_scale  # None: the pipeline's
        if asked and scale == 1:
            raise ValueError("condition-gap compares the two halves of classifier-free guidance: give --guidance-scale, such as 1.5.")

    def check_pipeline(self) -> None:
        """Raises ValueError where something is missing that the demo model brings along."""
        if self.prompt is None and self.prompts is None:
            raise ValueError("The prompt is missing: say what to draw with --prompt or --prompts.")
        if self.method in BY_POSTERIOR and self.laplace is None:
            raise ValueError(f"{self.method.value} needs the model's posterior: make it with fit-laplace and name it with --laplace.")
        if self.method is SamplingScore.GENERATIVE and self.encoder is None:
            raise ValueError("generative needs to see what the images mean: name the folder of a CLIP image model with --encoder.")
        self.conditions()

    @property
    def keep_count(self) -> int:
        return round(KEPT_SHARE * self.images) if self.keep is None else self.keep

    @property
    def direction(self) -> Direction:
        low = (SamplingScore.INFORMATION, SamplingScore.NOISE, SamplingScore.CONDITION_GAP)
        return Direction.LOW_IS_BAD if self.method in low else Direction.HIGH_IS_BAD

    def conditions(self) -> Sequence[int | str]:
        """What image 0, 1, 2, .. is to show, in turn: digits or prompts. Raises ValueError for a file without a prompt."""
        if self.model == DEMO:
            return range(int(DIGIT.low), int(DIGIT.high) + 1) if self.label is None else [self.label]
        return [request.prompt for request in self.requests()]

    def requests(self) -> list[Request]:
        """The same with all that is asked for beside the prompt, for other models. Raises OSError or ValueError for a bad file."""
        requests = [Request(self.prompt or "")] if self.prompts is None else read_prompts(self.prompts)
        return [replace(request, size=request.size or self.size) for request in requests]

    def method_options(self) -> InformationOptions | GenerativeOptions | BayesDiffOptions | DropoutOptions | AleatoricOptions | FreeOptions:
        """The options of the method, every default filled in.

        ``seed`` is of the images alone. Draws of its own would move all scores of a run by the same amount, about a third of how far its
        images differ, so that they could not be compared with those of another run.
        """
        if self.method is SamplingScore.INFORMATION:
            default = InformationOptions()
            return replace(default, draws=replace(default.draws, samples=self.samples or default.draws.samples))
        if self.method is SamplingScore.GENERATIVE:
            return GenerativeOptions(self.members, member_steps=self.member_steps)
        if self.method is SamplingScore.BAYESDIFF:
            return BayesDiffOptions(DrawOptions(self.samples or BayesDiffOptions().draws.samples), self.every)
        if self.method in FREE:
            return FreeOptions(FREE[self.method])
        draws = DrawOptions(self.samples or DrawOptions().samples)
        if self.method is SamplingScore.MC_DROPOUT:
            return DropoutOptions(draws)
        return AleatoricOptions(draws=draws, quantity=Quantity(self.method.value))
