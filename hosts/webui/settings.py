"""WebUI host: what a person sets, in the accordion, by the API, or by pasting an infotext."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_type_hints

from ...core.options import (
    AleatoricOptions,
    BestOfOptions,
    DrawOptions,
    EnsembleOptions,
    FilterRule,
    FreeOptions,
    FreeScore,
    GuidanceMode,
    GuidanceOptions,
    GuidancePreset,
    GuidanceUnits,
    InformationOptions,
    PipelineScore,
    Quantity,
    RejectedTo,
    SamplingPasses,
    Scorer,
    StepWindow,
    bounds,
    check_range,
    choose,
    limits,
)

GUIDANCE = GuidanceOptions()
SEARCH = BestOfOptions()
KEEP_ALL = "keep_all"  # no rule
COMPARING = (FilterRule.DROP_WORST_PERCENT, FilterRule.KEEP_BEST_COUNT)  # all images of a job
WITH_CALIBRATION = (FilterRule.CALIBRATED, FilterRule.AT_MOST_BAD)


@dataclass(frozen=True)
class Settings:
    """In the order of the accordion's components, to which the API's positional arguments belong: append only.

    samples, start_percent, end_percent: None stands for what suits the score (``measuring``).  strength: 0 = no guidance.
    rule: None keeps every image.  wanted: 0 = every batch is drawn; else no further once so many images are accepted.
    best: 0 = every image of a batch is finished; else so many, the best, are kept of each.
    members: LoRAs of the score ensemble, see ``parse_members``; branch: where they part.
    Raises ValueError, naming the setting, for values out of range.
    """

    enabled: bool = False
    score: PipelineScore = PipelineScore.INFORMATION
    samples: int | None = None
    start_percent: float | None = None
    end_percent: float | None = None
    levels: int = limits.LEVELS.default  # type: ignore[assignment]
    seed: int = limits.SEED.default  # type: ignore[assignment]
    heatmaps: bool = False
    passes: SamplingPasses = SamplingPasses.BOTH
    strength: float = 0.0
    percentile: float = GUIDANCE.percentile
    guidance_samples: int = GUIDANCE.draws.samples
    guidance_start: float = GUIDANCE.window.start
    guidance_end: float = GUIDANCE.window.end
    mode: GuidanceMode = GUIDANCE.mode
    units: GuidanceUnits = GUIDANCE.units
    preset: GuidancePreset = GuidancePreset.MEASURED
    rule: FilterRule | None = None
    value: float = limits.FILTER_VALUE.default
    calibration: str = ""
    rejected: RejectedTo = RejectedTo.FOLDER
    wanted: int = 0
    best: int = 0
    prune_at: float = SEARCH.points[0]
    prune_to: float = SEARCH.fractions[0]
    at_once: int = SEARCH.micro_batch
    members: str = ""
    branch: float = EnsembleOptions().branch

    def __post_init__(self) -> None:
        self.measuring()
        self.guidance()
        self.check_filter()
        self.check_search()
        self.check_ensemble()

    def measuring(self) -> AleatoricOptions | InformationOptions | FreeOptions | EnsembleOptions:
        """How images are scored: by what is recorded on the way, or after it."""
        if self.score is PipelineScore.ENSEMBLE:
            return EnsembleOptions(self.branch)
        if self.score.value in {each.value for each in FreeScore}:
            return self.free()
        default = InformationOptions() if self.score is PipelineScore.INFORMATION else AleatoricOptions()
        start = default.window.start if self.start_percent is None else self.start_percent
        end = default.window.end if self.end_percent is None else self.end_percent
        samples = default.draws.samples if self.samples is None else self.samples
        draws, window = DrawOptions(samples, self.seed, default.draws.antithetic), StepWindow(start, end)
        if isinstance(default, InformationOptions):
            return InformationOptions(draws, window, self.levels)
        return AleatoricOptions(draws, window, Quantity(self.score.value))

    def free(self) -> FreeOptions:
        options = FreeOptions(FreeScore(self.score.value))
        start = options.steps.start if self.start_percent is None else self.start_percent
        end = options.steps.end if self.end_percent is None else self.end_percent
        return replace(options, window=StepWindow(start, end))

    def recording(self) -> AleatoricOptions | FreeOptions:
        """What is recorded while a sampler runs."""
        options = self.measuring()
        return options if isinstance(options, (AleatoricOptions, FreeOptions)) else AleatoricOptions(DrawOptions(seed=self.seed))

    def best_of(self, candidates: int) -> BestOfOptions:
        """A search among the images of a batch. Raises ValueError where there are fewer than are to be kept."""
        if candidates < self.best:
            raise ValueError(f"best is {self.best}, but the batch size, which is the number of candidates, is {candidates}: raise it.")
        by = Scorer(self.score.value) if self.score.value in {each.value for each in Scorer} else Scorer.INFORMATION
        return replace(
            SEARCH,
            candidates=candidates,
            keep=max(self.best, 1),
            points=(self.prune_at,),
            fractions=(self.prune_to,),
            scorer=by,
            draws=replace(SEARCH.draws, seed=self.seed),
            micro_batch=self.at_once,
            seed=self.seed,
        )

    def guidance(self) -> GuidanceOptions | None:
        """None without guidance. The preset counts only where there is some: strength 0 is off whatever the preset."""
        draws, window = DrawOptions(self.guidance_samples, self.seed), StepWindow(self.guidance_start, self.guidance_end)
        options = GuidanceOptions(self.strength, self.percentile, draws, window, self.mode, self.units)
        if not self.strength:
            return None
        return GuidanceOptions.paper(self.seed) if self.preset is GuidancePreset.PAPER else options

    def check_filter(self) -> None:
        limits.FILTER_VALUE.check("value", self.value)
        limits.KEEP.check("wanted", self.wanted)
        if self.rule in WITH_CALIBRATION and not self.calibration:
            raise ValueError(f"The rule {self.rule.value!r} needs the name of a calibration; choose one, or another rule.")
        if self.rule in (FilterRule.CALIBRATED, FilterRule.DROP_WORST_PERCENT):
            limits.PERCENT.check("value (percent)", self.value)
        if self.rule is FilterRule.AT_MOST_BAD:
            limits.BAD_SHARE.check("value (percent of bad images)", self.value)
        if self.rule is FilterRule.KEEP_BEST_COUNT:
            check_range("value (images to keep)", self.value, 0)
        if self.wanted and (self.rule is None or self.rule in COMPARING):
            judging = ", ".join(repr(rule.value) for rule in FilterRule if rule not in COMPARING)
            raise ValueError(
                f"wanted is {self.wanted}, but only the rules {judging} judge an image by itself; choose one of them, or set wanted to 0."
            )

    def check_search(self) -> None:
        limits.KEEP.check("best", self.best)
        for name in ("prune_at", "prune_to"):
            check_range(name, getattr(self, name), 0, 1)
        bounds(BestOfOptions, "micro_batch").check("at_once", self.at_once)

    def check_ensemble(self) -> None:
        check_range("branch", self.branch, 0, 1)
        members = parse_members(self.members)
        if self.score is not PipelineScore.ENSEMBLE:
            return
        if len(members) < 2:
            raise ValueError(
                f"The score 'ensemble' compares LoRAs: name two or more in members, with commas between, got {self.members!r}."
            )
        if self.strength:
            raise ValueError("The score 'ensemble' does not go with guidance: set strength to 0, or choose another score.")

    def active(self, is_second: bool) -> bool:
        """Whether this sampling of an image is one of those that are meant."""
        return self.passes is SamplingPasses.BOTH or (self.passes is SamplingPasses.SECOND) == is_second

    @property
    def effective(self) -> dict[str, Any]:
        """Every setting as a component shows it: texts for modes, numbers for what was left to the score."""
        options = self.measuring()
        drawn = options if isinstance(options, (AleatoricOptions, InformationOptions)) else AleatoricOptions()  # the others draw nothing
        window = options.steps if isinstance(options, FreeOptions) else drawn.window
        suited = {"samples": drawn.draws.samples, "start_percent": window.start, "end_percent": window.end}
        values = {field.name: getattr(self, field.name) for field in fields(self)} | suited
        shown = {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}
        return shown | {"rule": KEEP_ALL if self.rule is None else self.rule.value}

    @classmethod
    def from_values(cls, values: Sequence[Any]) -> Settings:
        """From ``mapping_of``. Raises ValueError, in a sentence, as ``from_mapping``."""
        return cls.from_mapping(mapping_of(values))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """Raises ValueError, in a sentence, for a setting that there is not, a value of another kind, and one out of range."""
        if unknown := [name for name in values if name not in names()]:
            raise ValueError(f"There is no setting {unknown[0]!r}; the settings are {', '.join(names())}.")
        kinds = get_type_hints(cls)
        return cls(**{name: convert(name, value, kinds[name]) for name, value in values.items()})


def suited_to(score: PipelineScore) -> dict[str, Any]:
    """The components' values that nobody has set, for a score; an ensemble, which needs members, has those of a spread."""
    return Settings(score=PipelineScore.DENOISED if score is PipelineScore.ENSEMBLE else score).effective


def parse_members(text: str) -> list[tuple[str, float]]:
    """Names and strengths of LoRAs: "one, two:0.8". Raises ValueError for a strength that is none."""
    members = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        name, colon, strength = each.rpartition(":")
        try:
            value = float(strength) if colon else limits.LORA_STRENGTH.default
        except ValueError:
            raise ValueError(f"members must be names of LoRAs with or without a strength, such as one, two:0.8; got {each!r}.") from None
        limits.LORA_STRENGTH.check(f"The strength of {name!r}", value)
        members.append((name.strip() if colon else each, value))
    return members


def names() -> list[str]:
    return [field.name for field in fields(Settings)]


def mapping_of(values: Sequence[Any]) -> dict[str, Any]:
    """The components' values by name, or one dictionary in their place, as the API sends it: that one is on unless it says otherwise."""
    if values and isinstance(values[0], Mapping):
        return {"enabled": True, **values[0]}
    return dict(zip(names(), values, strict=False))


def default_of(name: str) -> Any:
    (field,) = (field for field in fields(Settings) if field.name == name)
    return None if field.default is MISSING else field.default


def convert(name: str, value: Any, kind: Any) -> Any:
    """A component's, JSON's or infotext's value as the setting's own kind. Raises ValueError naming the setting."""
    kinds = get_args(kind) or (kind,)
    if name == "rule" and value == KEEP_ALL:
        return None
    if value is None and NoneType in kinds:
        return None
    wanted = kinds[0]
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        return choose(name, value.value if isinstance(value, Enum) else value, wanted)
    if wanted is bool:
        if value in (True, False, "True", "False"):
            return value in (True, "True")
        raise ValueError(f"{name} must be true or false, got {value!r}.")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{name} must be a {'text' if wanted is str else 'number'}, got {value!r}.")
    if wanted is str:
        return str(value)
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {value!r}.") from None
    return int(value) if wanted is int and number.is_integer() else number
