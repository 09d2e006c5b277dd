"""Options of searches: the best of N with early pruning, and sampling until images are good."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from .bounds import bounded, check_fields
from .checks import check_choice
from .filtering import FilterRule
from .limits import BAD_SHARE, CONFIDENCE, FILTER_VALUE, PERCENT, SEED
from .sampling import DrawOptions
from .scores import FreeScore


class Scorer(str, Enum):
    """What candidates are compared by while they are sampled."""

    INFORMATION = "information"  # whether the image carries its condition, 2 calls a draw: low = bad
    DENOISED = "denoised"  # spread of the predicted images, 1 call a draw: high = bad
    NOISE = "noise"  # spread of the predicted noise, 1 call a draw: low = bad
    TRAJECTORY = "trajectory"  # how far the predicted image moved in the steps so far, no call: high = bad
    CONDITION_GAP = "condition_gap"  # how far the predictions with and without the prompt were apart, no call: low = bad

    @property
    def free(self) -> FreeScore | None:
        """What a sampling's own steps tell, at no call; None for scorers that draw."""
        return FreeScore(self.value) if self.value in [score.value for score in FreeScore] else None


class SearchMode(str, Enum):
    """What happens at each point of the schedule."""

    PRUNE = "prune"  # the worst candidates end
    RESAMPLE = "resample"  # copies of the best take the place of the worst, in proportion to their weight
    STOP = "stop"  # every candidate that a calibration calls hopeless ends, however many those are


DRAWN_SCORERS = tuple(scorer for scorer in Scorer if scorer.free is None)  # they can score an image that is finished and nothing else known


@dataclass(frozen=True)
class BestOfOptions:
    """Sample ``candidates``, compare them at each of ``points``, finish the best.

    points: fractions of the noise schedule that have passed, 0 = pure noise, rising; none: the finished images alone are compared.
    fractions: of the candidates still there, how many go on after each point; rounded up, and never fewer than ``keep``.
    second: another scorer, joined with the first by rank.  further: free scorers that are told beside them and rank nothing.
    draws: of each comparison.  micro_batch: candidates in one network call.
    always: compare at every point, even where that decides nothing: for what is usual there to be known.
    sharpness: of the weights of ``resample``.  limit: percentile of earlier scores, best first, beyond which ``stop`` ends a candidate.
    """

    candidates: int = bounded(8, 1, 4096)
    keep: int = bounded(1, 1, 4096)
    points: tuple[float, ...] = (0.25,)
    fractions: tuple[float, ...] = (0.25,)
    mode: SearchMode = SearchMode.PRUNE
    scorer: Scorer = Scorer.INFORMATION
    second: Scorer | None = None
    draws: DrawOptions = field(default_factory=lambda: DrawOptions(samples=2, antithetic=True))
    micro_batch: int = bounded(1, 1, 4096)
    sharpness: float = bounded(1.0, 0.0, 100.0, 0.1)
    limit: float = PERCENT.field()
    seed: int = SEED.field()
    further: tuple[Scorer, ...] = ()
    always: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.second is not None:
            check_choice("second", self.second, Scorer)
            if self.second is self.scorer:
                raise ValueError(f"second must be another scorer than the first, got {self.second.value!r} twice; leave it out.")
            if self.mode is SearchMode.STOP:
                raise ValueError("The mode 'stop' compares one score with earlier ones: leave second out.")
        if self.keep > self.candidates:
            raise ValueError(f"keep must not exceed candidates, got {self.keep} of {self.candidates}.")
        check_points(self.points, self.fractions)

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        return (self.scorer,) if self.second is None else (self.scorer, self.second)

    @property
    def drawn_scorers(self) -> tuple[Scorer, ...]:
        """Those that cost calls."""
        return tuple(scorer for scorer in self.scorers if scorer.free is None)

    @property
    def free_scorers(self) -> tuple[Scorer, ...]:
        """Those that cost none, with the further ones."""
        return tuple(dict.fromkeys(scorer for scorer in (*self.scorers, *self.further) if scorer.free is not None))


def check_points(points: tuple[float, ...], fractions: tuple[float, ...]) -> None:
    """Raises ValueError unless there is one fraction for each point, all lie in 0 to 1, and the points rise."""
    if len(points) != len(fractions):
        raise ValueError(f"Each point needs the fraction that goes on after it, got {len(points)} points and {len(fractions)} fractions.")
    for name, values in (("points", points), ("fractions", fractions)):
        if wrong := [v for v in values if not 0 <= v <= 1]:
            raise ValueError(f"{name} must be between 0 and 1, got {wrong[0]!r}.")
    if any(b <= a for a, b in zip(points, points[1:], strict=False)):
        raise ValueError(f"points must rise from noise (0) to the finished image (1), got {list(points)}.")


SINGLE_RULES = (FilterRule.CALIBRATED, FilterRule.THRESHOLD, FilterRule.AT_MOST_BAD)  # they judge an image by itself


@dataclass(frozen=True)
class UntilOptions:
    """Sample again, with a seed of its own each time, until ``wanted`` images are accepted; ``max_attempts`` runs at most.

    rule, value, confidence: as in Sample Filter; only rules that judge an image by itself: ``threshold``, ``calibrated``, ``at_most_bad``.
    """

    wanted: int = bounded(1, 1, 1_000_000)
    max_attempts: int = bounded(8, 1, 1_000_000)
    rule: FilterRule = FilterRule.CALIBRATED
    value: float = FILTER_VALUE.field()
    seed: int = SEED.field()
    confidence: float = CONFIDENCE.field()

    def __post_init__(self) -> None:
        check_fields(self)
        if self.rule not in SINGLE_RULES:
            raise ValueError(
                f"The rule {self.rule.value!r} compares images of one batch, but here each image is judged by itself; "
                "use 'threshold', 'calibrated' or 'at_most_bad'."
            )
        if self.rule is FilterRule.CALIBRATED:
            PERCENT.check("value", self.value)
        elif self.rule is FilterRule.AT_MOST_BAD:
            BAD_SHARE.check("value (percent of bad images)", self.value)
