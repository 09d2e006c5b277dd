"""What the generate command is asked for beyond one try an image: the best of several, and drawing until enough are accepted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.options import BestOfOptions, FilterRule, Scorer, UntilOptions, check_range
from ...core.options.bounds import bounds, check_fields
from ...core.options.limits import IMAGES

CANDIDATES = replace(bounds(BestOfOptions, "candidates"), default=1)
MICRO_BATCH = bounds(BestOfOptions, "micro_batch")
WANTED = bounds(UntilOptions, "wanted")
ATTEMPTS = bounds(UntilOptions, "max_attempts")  # the default is for each image wanted
RULES = (FilterRule.CALIBRATED, FilterRule.THRESHOLD)


@dataclass(frozen=True)
class SearchOptions:
    """prune: the share of an image's candidates that ends at each of the points prune_at; empty: all are finished.

    calibration: a file of earlier scores for the rule calibrated; without it, the first calibrate_with images of the run are those.
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

    def __post_init__(self) -> None:
        check_fields(self)
        self.check_prune()
        if self.until_kept is None:
            self.check_absent(("max_attempts", "value", "calibration"), "until_kept")
        elif self.rule is FilterRule.THRESHOLD:
            self.check_absent(("calibration",), "the rule calibrated")
            if self.value is None:
                raise ValueError("The rule threshold needs the score to compare with: give --value.")
        if self.until_kept is not None:
            self.until_options()
        if self.calibration is not None and not self.calibration.is_file():
            raise FileNotFoundError(
                f"There is no file {str(self.calibration)!r}; save one with ComfyUI's Calibrate or core's Calibration, or leave out "
                "--calibration to calibrate with the first images drawn."
            )
        if self.needs_first and self.calibrate_with > self.attempts:
            raise ValueError(
                f"max_attempts must be at least calibrate_with, {self.calibrate_with}, the number of images that the rule is read off, "
                f"got {self.attempts}."
            )

    def check_prune(self) -> None:
        if self.best_of == 1:
            self.check_absent(("prune", "prune_at"), "best_of above 1")
        for name in ("prune", "prune_at"):
            for value in getattr(self, name):
                check_range(name, value, 0, 1)
        if self.prune_at and not self.prune:
            raise ValueError("prune_at says when candidates end, prune how many: give --prune too, such as --prune 0.5.")
        if self.prune and len(self.prune) not in (1, len(self.points)):
            raise ValueError(
                f"prune must give one share for all points or one for each, got {len(self.prune)} for {len(self.points)} points."
            )
        self.best_of_options()

    def check_absent(self, names: tuple[str, ...], owner: str) -> None:
        for name in names:
            if getattr(self, name) not in (None, ()):
                raise ValueError(f"{name} belongs to {owner}, which is not asked for; leave out --{name.replace('_', '-')}.")

    @property
    def points(self) -> tuple[float, ...]:
        return (self.prune_at or BestOfOptions().points) if self.prune else ()

    def best_of_options(self) -> BestOfOptions:
        points = self.points
        shares = self.prune * len(points) if len(self.prune) == 1 else self.prune
        fractions = tuple(1 - share for share in shares)
        return BestOfOptions(self.best_of, points=points, fractions=fractions, scorer=self.scorer, micro_batch=self.micro_batch)

    def candidate_arguments(self) -> dict[str, Any]:
        """What an image depends on, as results.json remembers it; nothing for one try an image, as in runs of old."""
        if self.best_of == 1:
            return {}
        named = {"best_of": self.best_of, "prune": list(self.prune), "prune_at": list(self.points), "scorer": self.scorer.value}
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
        value = bounds(UntilOptions, "value").default if self.value is None else self.value
        return UntilOptions(self.until_kept or 1, self.attempts, self.rule, value)
