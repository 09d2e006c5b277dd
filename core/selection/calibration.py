"""What scores were like in earlier runs, so that one image alone can be judged."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..files import load_tensors, locked, save_tensors
from ..options import Direction, limits
from ..values import check_count, check_list, check_tensor, check_text, check_texts, intact

KIND = "calibration"
VERSION = 1
PROMPT_KIND = "prompt kind"
SETTINGS = ("model", PROMPT_KIND, "sampler", "steps", "cfg", "guidance", "method", "window", "samples", "log_snr")  # that scores depend on
LATEST_RUNS = 20  # whose provenance is remembered


@dataclass(frozen=True, eq=False)
class Calibration:
    """The scores of N earlier images, made in one way.

    scores: (N,) float64, ascending, finite, N >= 1.   direction: which end is bad.   quantity: the score's name.
    provenance: how they were made, one entry per run.
    seen: how many scores were collected in all, N or more: of too many a random sample is kept. 0 stands for N.
    Raises ValueError when scores are not such a sample.
    """

    scores: Tensor
    direction: Direction
    quantity: str
    provenance: tuple[Mapping[str, str], ...] = ()
    seen: int = 0

    def __post_init__(self) -> None:
        s = self.scores
        if s.ndim != 1 or len(s) == 0 or not bool(s.isfinite().all()) or bool((s.diff() < 0).any()):
            raise ValueError(f"A calibration needs one or more finite scores in ascending order, got shape {tuple(s.shape)}.")
        object.__setattr__(self, "seen", max(self.seen, len(s)))

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def fit(
        cls, scores: Sequence[Tensor], direction: Direction, quantity: str, provenance: Sequence[Mapping[str, str]] = ()
    ) -> Calibration:
        """From the scores of one or more runs, each (B,). What is not finite is left out; ValueError when nothing is left."""
        if any(s.ndim != 1 for s in scores):
            raise ValueError(f"Scores to calibrate with must have shape (B,), got {[tuple(s.shape) for s in scores]}.")
        joined = torch.cat([torch.empty(0, dtype=torch.float64), *(s.detach().cpu().double() for s in scores)])
        finite = joined[joined.isfinite()]
        if len(finite) == 0:
            raise ValueError(f"There is nothing to calibrate with: none of the {len(joined)} scores given is finite.")
        return cls(finite.sort().values, direction, quantity, tuple(dict(p) for p in provenance))

    @property
    def settings(self) -> dict[str, str]:
        """What all runs agree in, of what scores depend on."""
        return common_settings(self.provenance)

    def check(self, quantity: str, direction: Direction, settings: Mapping[str, str] | None = None) -> None:
        """Raises ValueError when another kind of score, or one that was made in another way, is to be compared with this history.

        settings: of the scores to compare; only what both sides know is looked at.
        """
        if (quantity, direction) != (self.quantity, self.direction):
            raise ValueError(
                f"This calibration holds {self.quantity!r} scores ({self.direction.value}), but {quantity!r} scores ({direction.value}) "
                "are to be compared with it; calibrate again with results of that kind."
            )
        for name, known in self.settings.items():
            if (other := (settings or {}).get(name, known)) != known:
                raise ValueError(
                    f"This calibration holds scores made with {name} {known!r}, but scores made with {name} {other!r} are to be compared "
                    "with it; use a calibration of their own, under another name."
                )

    def threshold_at(self, percent: float) -> float:
        """The score that ``percent`` % of the history, ranked best first, is at least as good as; linear between neighbours.

        HIGH_IS_BAD: the ``percent`` percentile of the scores; LOW_IS_BAD: the (100 - percent) percentile.
        0 is the best score seen, 100 the worst.
        """
        limits.PERCENT.check("percent", percent)
        low_to_high = percent if self.direction is Direction.HIGH_IS_BAD else 100 - percent
        return float(np.percentile(self.scores.numpy(), low_to_high))

    def percentile_of(self, score: float) -> float:
        """100 * (number of better scores + half the equal ones) / N: 0 = better than all seen, 100 = worse than all seen.

        Raises ValueError when the score is not finite.
        """
        if not math.isfinite(score):
            raise ValueError(f"score must be a finite number, got {score!r}.")
        below = np.searchsorted(self.scores.numpy(), score, side="left")
        up_to = np.searchsorted(self.scores.numpy(), score, side="right")
        percent = 50 * float(below + up_to) / len(self)
        return percent if self.direction is Direction.HIGH_IS_BAD else 100 - percent

    def merge(self, other: Calibration, most: int | None = None) -> Calibration:
        """This history and the scores of further runs. Raises ValueError when they hold other kinds of scores.

        most: how many scores to keep. Beyond it each of all scores ever collected has the same chance to be among them (Vitter 1985,
        Algorithm R), so that percentiles stay those of the whole. Deterministic.
        """
        self.check(other.quantity, other.direction, other.settings)
        runs, seen = [*self.provenance, *other.provenance][-LATEST_RUNS:], self.seen + other.seen
        if most is None or seen <= most:
            scores = torch.cat([self.scores, other.scores])
        else:
            scores = self.scores.new_tensor(sample(self.scores.tolist(), self.seen, other.scores.tolist(), most))
        return replace(self, scores=scores.sort().values, provenance=tuple(runs), seen=seen)

    def thin(self, most: int) -> Calibration:
        """At most so many of the scores, a random sample. Deterministic."""
        return replace(self, scores=self.scores.new_tensor(sample(self.scores.tolist(), self.seen, [], most)).sort().values)

    def save(self, path: str | Path) -> None:
        """Write as safetensors. Raises OSError when the file cannot be written."""
        metadata = {"direction": self.direction.value, "quantity": self.quantity, "provenance": list(self.provenance), "seen": self.seen}
        save_tensors(path, {"scores": self.scores}, KIND, VERSION, metadata)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what ``save`` wrote. Raises FileNotFoundError, or ValueError for a truncated, foreign or damaged file."""
        tensors, metadata = load_tensors(path, KIND, VERSION)
        with intact(path, KIND):
            scores = check_tensor("scores", tensors["scores"], (None,)).double()
            runs = tuple(check_texts("provenance", run) for run in check_list("provenance", metadata["provenance"]))
            seen = check_count("seen", metadata.get("seen", len(scores)), len(scores))  # files of earlier versions hold all
            return cls(scores, Direction(metadata["direction"]), check_text("quantity", metadata["quantity"]), runs, seen)


def common_settings(provenance: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Of the settings that scores depend on, those that all runs that tell them agree in."""
    told = {name: {run[name] for run in provenance if name in run} for name in SETTINGS}
    return {name: values.pop() for name, values in told.items() if len(values) == 1}


def sample(kept: list[float], seen: int, further: Sequence[float], most: int) -> list[float]:
    """``most`` of all scores: ``kept`` is such a sample of the first ``seen``, and ``further`` come behind them."""
    draw = random.Random(seen)  # noqa: S311 - nothing secret
    kept = draw.sample(kept, most) if len(kept) > most else list(kept)
    for number, score in enumerate(further, start=seen + 1):
        if len(kept) < most:
            kept.append(score)
        elif (place := draw.randrange(number)) < most:
            kept[place] = score
    return kept


def collect(path: str | Path, further: Calibration, most: int, on_wait: Callable[[], None] = lambda: None) -> Calibration:
    """Add scores to the file, which is made when missing; several processes may do so at once. Returns all that it holds then.

    Raises ValueError when the file holds other scores, or is no calibration; OSError when it can't be written or locked.
    """
    with locked(path, on_wait=on_wait):
        history = Calibration.load(path).merge(further, most) if Path(path).is_file() else further.thin(most)
        history.save(path)
        return history
