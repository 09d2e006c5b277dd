"""What the generate command is asked for beyond one try an image: the best of several, and drawing until enough are accepted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.options import BestOfOptions, FilterRule, Scorer, SearchMode, UntilOptions, check_range
from ...core.options.bounds import bounds, check_fields
from ...core.options.limits import BAD_SHARE, CONFIDENCE, GOING_ON, IMAGES

if TYPE_CHECKING:
    from ...core.selection.calibration import Calibration

CANDIDATES = replace(bounds(BestOfOptions, "candidates"), default=1)
MICRO_BATCH = bounds(BestOfOptions, "micro_batch")
WANTED = bounds(UntilOptions, "wanted")
ATTEMPTS = bounds(UntilOptions, "max_attempts")  # the default is for each image wanted
MODES = tuple(SearchMode)
RULES = (FilterRule.CALIBRATED, FilterRule.THRESHOLD, FilterRule.AT_MOST_BAD)


@dataclass(frozen=True)
class SearchOptions:
    """prune: the share of an image's candidates that ends at each of the points prune_at; empty: all are finished.

    mode, sharpness: what happens to the candidates then; see ``BestOfOptions``.
    calibration: a file of earlier scores for the rule calibrated; without it, the first calibrate_with images of the run are those.
    For the rule at_most_bad, with labels. confidence: of that rule.
    early_at: the point at which each image is scored on its way, too, for such a file to be made; nothing is stopped.
    early_calibration, early_limit: for the mode stop, a file of earlier scores at a point, and how many of the good go on, in percent.
    """

    best_of: int = CANDIDATES.field()
    prune: tuple[float, ...] = ()
    prune_at: tuple[float, ...] = ()
    scorer: Scorer = Scorer.INFORMATION
    micro_batch: int = MICRO_BATCH.field()
    until_kept: int | None = None
    max_attempts: int | None = None
    rule: FilterRule = FilterRule.CALIBRATED
    value: float | None = None
    calibration: Path | None = None
    calibrate_with: int = IMAGES.field()
    confidence: float | None = None
    mode: SearchMode = SearchMode.PRUNE
    sharpness: float | None = None
    early_at: float | None = None
    early_calibration: Path | None = None
    early_limit: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        self.check_stop()
        self.check_early()
        self.check_prune()
        self.check_until()
        if self.calibration is not None and not self.calibration.is_file():
            raise FileNotFoundError(
                f"There is no file {str(self.calibration)!r}; make one with the command calibrate or ComfyUI's Calibrate, or leave out "
                "--calibration to calibrate with the first images drawn."
            )
        if self.needs_first and self.calibrate_with > self.attempts:
            raise ValueError(
                f"max_attempts must be at least calibrate_with, {self.calibrate_with}, the number of images that the rule is read off, "
                f"got {self.attempts}: raise --max-attempts, lower --calibrate-with, or name earlier scores with --calibration."
            )

    def check_until(self) -> None:
        if self.until_kept is None:
            names = ("max_attempts", "rule", "value", "calibration", "calibrate_with", "confidence")
            self.check_absent(names, "until_kept")
            return
        if self.rule is not FilterRule.AT_MOST_BAD:
            self.check_absent(("confidence",), "the rule at_most_bad")
        elif self.calibration is None:
            raise ValueError(
                "The rule at_most_bad needs labelled images: name their file with --calibration. The command calibrate --labels FILE "
                "writes one, and so does ComfyUI's Calibrate."
            )
        if self.rule is FilterRule.THRESHOLD:
            self.check_absent(("calibration",), "the rule calibrated")
            if self.value is None:
                raise ValueError("The rule threshold needs the score to compare with: give --value.")
        self.until_options()

    def check_stop(self) -> None:
        if self.mode is not SearchMode.STOP:
            self.check_absent(("early_calibration", "early_limit"), "the mode stop")
            return
        self.check_absent(("prune", "prune_at", "scorer", "sharpness"), "the modes prune and resample")
        how = "To make one, draw with --early-at 0.5, then use the command calibrate --early; or ComfyUI's Calibrate after Finish Drafts."
        if self.early_calibration is None:
            raise ValueError(f"The mode stop needs what earlier images scored on their way: name the file with --early-calibration. {how}")
        if not self.early_calibration.is_file():
            raise FileNotFoundError(f"There is no file {str(self.early_calibration)!r} for --early-calibration. {how}")

    def check_calibration(self, settings: Mapping[str, str]) -> None:
        """What the mode stop can't promise, and what does not suit the images, is better known before the first. settings: of these."""
        from ...core.search.stopping import stops_of

        stops_of(self.best_of_options(), self.stop_calibrations, settings)

    @cached_property
    def stop_calibrations(self) -> tuple[Calibration, ...]:
        """For each point of the mode stop. Once read, it goes with the options to other machines. Raises as ``Calibration.load``."""
        from ...core.selection.calibration import Calibration  # loads torch, which the help of the command does without

        return (Calibration.load(self.early_calibration),) if self.early_calibration is not None else ()

    def stop_options(self) -> BestOfOptions:
        from ...core.search.stopping import stop_options

        (history,) = self.stop_calibrations
        limit = GOING_ON.default if self.early_limit is None else self.early_limit
        options = replace(stop_options(history, limit), candidates=self.best_of, micro_batch=self.micro_batch)
        return replace(options, further=self.further(options.scorer)) if self.best_of == 1 else options

    def further(self, scorer: Scorer | None = None) -> tuple[Scorer, ...]:
        """The free scores beside ``scorer``, the one of the options where left out: an early stop may be learned from them."""
        return tuple(s for s in Scorer if s.free is not None and s is not (scorer or self.scorer))

    @property
    def searches(self) -> bool:
        """Whether an image is more than one try that goes to its end, unlooked at."""
        return self.best_of > 1 or self.mode is SearchMode.STOP or self.early_at is not None

    @property
    def early_quantity(self) -> str | None:
        """What each image is scored by on its way; None where it isn't, or is one of several candidates."""
        if self.best_of > 1 or not self.searches:
            return None
        from ...core.search.stopping import quantity_at

        options = self.best_of_options()
        return quantity_at(options.scorer, options.points[0])

    def check_early(self) -> None:
        if self.early_at is None:
            return
        check_range("early_at", self.early_at, 0, 1)
        if self.best_of > 1 or self.mode is not SearchMode.PRUNE:
            other = "best-of" if self.best_of > 1 else "mode"
            raise ValueError(f"early_at scores images that are drawn as they are, so that a later run can stop some; leave out --{other}.")

    def check_prune(self) -> None:
        if self.best_of == 1:
            scorer = () if self.early_at is not None else ("scorer",)
            self.check_absent(("prune", "prune_at", *scorer, "micro_batch", "sharpness"), "best_of above 1")
            if self.mode is SearchMode.RESAMPLE:
                raise ValueError(f"The mode {self.mode.value} is about several candidates: give --best-of too, such as --best-of 4.")
        if self.mode is not SearchMode.RESAMPLE:
            self.check_absent(("sharpness",), "the mode resample")
        for name in ("prune", "prune_at"):
            for value in getattr(self, name):
                check_range(name, value, 0, 1)
        if self.prune_at and not self.prune and self.mode is SearchMode.PRUNE:
            raise ValueError("prune_at says when candidates end, prune how many: give --prune too, such as --prune 0.5.")
        if self.prune and len(self.prune) not in (1, len(self.points)):
            raise ValueError(
                f"prune must give one share for all points or one for each, got {len(self.prune)} for {len(self.points)} points."
            )
        self.best_of_options()

    def check_absent(self, names: tuple[str, ...], owner: str) -> None:
        """Raises ValueError for one that is not at its default."""
        for name in names:
            if getattr(self, name) != getattr(type(self), name):
                raise ValueError(f"{name} belongs to {owner}, which is not asked for; leave out --{name.replace('_', '-')}.")

    @property
    def points(self) -> tuple[float, ...]:
        return (self.prune_at or BestOfOptions().points) if self.prune or self.mode is SearchMode.RESAMPLE else ()

    def best_of_options(self) -> BestOfOptions:
        if self.mode is SearchMode.STOP:
            return self.stop_options()
        if self.early_at is not None:
            return BestOfOptions(1, points=(self.early_at,), fractions=(1.0,), scorer=self.scorer, further=self.further(), always=True)
        points = self.points
        shares = self.prune * len(points) if len(self.prune) == 1 else self.prune or (0.0,) * len(points)
        fractions = tuple(1 - share for share in shares)
        sharpness = bounds(BestOfOptions, "sharpness").default if self.sharpness is None else self.sharpness
        return BestOfOptions(
            self.best_of,
            points=points,
            fractions=fractions,
            mode=self.mode,
            scorer=self.scorer,
            micro_batch=self.micro_batch,
            sharpness=sharpness,
        )

    def candidate_arguments(self) -> dict[str, Any]:
        """What an image depends on, as results.json remembers it; nothing for one try an image, as in runs of old."""
        if not self.searches:
            return {}
        if self.early_calibration is not None:
            content, asked = self.early_calibration.read_bytes(), self.best_of_options()
            told = {"best_of": self.best_of, "mode": self.mode.value, "early_limit": asked.limit}
            return told | {"early_calibration": code_of(content), "the comparison's defaults": repr(asked.draws)}
        if self.early_at is not None:
            draws = repr(self.best_of_options().draws)
            return {"early_at": self.early_at, "scorer": self.scorer.value, "the comparison's defaults": draws}
        named = {"best_of": self.best_of, "prune": list(self.prune), "prune_at": list(self.points), "scorer": self.scorer.value}
        if self.mode is not SearchMode.PRUNE:
            named |= {"mode": self.mode.value, "sharpness": self.best_of_options().sharpness}
        return named | {"the comparison's defaults": repr(self.best_of_options().draws)}

    @property
    def needs_first(self) -> bool:
        """Whether the rule is read off the first images of the run."""
        return self.until_kept is not None and self.rule is FilterRule.CALIBRATED and self.calibration is None

    @property
    def attempts(self) -> int:
        """At most so many images are drawn."""
        default = int(ATTEMPTS.default) * (self.until_kept or 1)
        return max(default, self.calibrate_with) if self.max_attempts is None else self.max_attempts

    def until_options(self) -> UntilOptions:
        usual = BAD_SHARE.default if self.rule is FilterRule.AT_MOST_BAD else bounds(UntilOptions, "value").default
        value = usual if self.value is None else self.value
        confidence = CONFIDENCE.default if self.confidence is None else self.confidence
        return UntilOptions(self.until_kept or 1, self.attempts, self.rule, value, confidence=confidence)


def code_of(content: bytes) -> str:
    """Of a file whose content images depend on."""
    return hashlib.sha256(content).hexdigest()[:16]
