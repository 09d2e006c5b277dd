"""What scores were like in earlier runs, so that one image alone can be judged."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..files import load_tensors, save_tensors
from ..options import Direction, limits
from ..values import check_count, check_counts, check_list, check_tensor, check_text, check_texts, intact
from .early_stop import EarlyStop
from .learning import FEWEST
from .risk import RiskLimit, check_promise, labels_needed, risk_limit, tell
from .settings import alike_everywhere, check_settings, common_settings
from .step_scores import StepScores, join_steps

KIND = "calibration"
VERSION = 1
FURTHER = "further "  # begins the names of those tensors
LATEST_RUNS = 20  # whose provenance is remembered
LATEST_IMAGES = 1 << 17  # which are known again: 1 MB


@dataclass(frozen=True, eq=False)
class Calibration:
    """The scores of N earlier images, made in one way.

    scores: (N,) float64, ascending, finite, N >= 1.   direction: which end is bad.   quantity: the score's name.
    provenance: how they were made, one entry per run.
    seen: how many scores were collected in all, N or more: of too many a random sample is kept. 0 stands for N.
    steps: what the scores of the latest images were at each step; None where nobody told.
    labelled: (M,) float64, finite scores of images that somebody called good or bad.   bad: (M,) bool, which of them are bad.
    further: what other scores said of those images at the same moment, (M,) by name, NaN where it is not known.
    collected: how many images of a run are in it already, by the run's name; of runs that may come again.
    images: (K,) int64, which images were collected (``image_codes``), of the latest that told, in their order; as ``fit`` makes it
        one for each score.
    Raises ValueError when scores are not such a sample.
    """

    scores: Tensor
    direction: Direction
    quantity: str
    provenance: tuple[Mapping[str, str], ...] = ()
    seen: int = 0
    labelled: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))
    bad: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    steps: StepScores | None = None
    further: Mapping[str, Tensor] = field(default_factory=dict)
    collected: Mapping[str, int] = field(default_factory=dict)
    images: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def __post_init__(self) -> None:
        s = self.scores
        if s.ndim != 1 or len(s) == 0 or not bool(s.isfinite().all()) or bool((s.diff() < 0).any()):
            raise ValueError(f"A calibration needs one or more finite scores in ascending order, got shape {tuple(s.shape)}.")
        if self.labelled.ndim != 1 or self.labelled.shape != self.bad.shape or not bool(self.labelled.isfinite().all()):
            raise ValueError(f"A label needs a finite score, got {tuple(self.labelled.shape)} scores and {tuple(self.bad.shape)} labels.")
        object.__setattr__(self, "seen", max(self.seen, len(s)))

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def fit(
        cls,
        scores: Sequence[Tensor],
        direction: Direction,
        quantity: str,
        provenance: Sequence[Mapping[str, str]] = (),
        stopped: int = 0,
        images: Tensor | None = None,
    ) -> Calibration:
        """From the scores of one or more runs, each (B,). What is not finite is left out; ValueError when nothing is left.

        images: which they are, one number for each score given, so that none is counted again when it comes again; not with ``stopped``.
        stopped: images that were left on their way as hopeless. They count among the images of which a share is accepted, as no better
        than the worst that was finished; else a limit would hold for that share of the hopeful ones alone, which is stricter.
        """
        if any(s.ndim != 1 for s in scores):
            raise ValueError(f"Scores to calibrate with must have shape (B,), got {[tuple(s.shape) for s in scores]}.")
        joined = torch.cat([torch.empty(0, dtype=torch.float64), *(s.detach().cpu().double() for s in scores)])
        finite = joined[joined.isfinite()]
        if len(finite) == 0:
            raise ValueError(f"There is nothing to calibrate with: none of the {len(joined)} scores given is finite.")
        worst = finite.max() if direction is Direction.HIGH_IS_BAD else finite.min()
        ascending = torch.cat([finite, worst.repeat(stopped)]).sort()
        fitted = cls(ascending.values, direction, quantity, tuple(dict(p) for p in provenance))
        return fitted if images is None else replace(fitted, images=images[joined.isfinite()][ascending.indices])

    @property
    def settings(self) -> dict[str, str]:
        """What all runs agree in, of what scores depend on."""
        return common_settings(self.provenance)

    def check(self, quantity: str, direction: Direction, settings: Mapping[str, str] | None = None) -> None:
        """Raises ValueError when another kind of score, or one that was made in another way, is to be compared with this history.

        settings: of the scores to compare; only what both sides know is looked at, and of another host only what all hosts call alike.
        """
        if (quantity, direction) != (self.quantity, self.direction):
            raise ValueError(
                f"This calibration holds {self.quantity!r} scores ({self.direction.value}), but {quantity!r} scores ({direction.value}) "
                "are to be compared with it; calibrate again with results of that kind."
            )
        check_settings(self.settings, alike_everywhere(settings or {}, self.settings))

    def threshold_at(self, percent: float) -> float:
        """The score that ``percent`` % of the history, ranked best first, is at least as good as; linear between neighbours.

        HIGH_IS_BAD: the ``percent`` percentile of the scores; LOW_IS_BAD: the (100 - percent) percentile.
        0 is the best score seen, 100 the worst.
        """
        limits.PERCENT.check("percent", percent)
        low_to_high = percent if self.direction is Direction.HIGH_IS_BAD else 100 - percent
        return float(np.percentile(self.scores.numpy(), low_to_high))

    def risk(self, bad_share: float, confidence: float) -> RiskLimit:
        """The limit up to which at most ``bad_share`` % of the images are bad, with ``confidence`` %. It is in badness."""
        check_promise(bad_share, confidence)
        asked = bad_share, confidence
        if asked not in self._risks:
            self._risks[asked] = risk_limit(*self._labels, bad_share / 100, confidence / 100)
        return self._risks[asked]

    @cached_property
    def _risks(self) -> dict[tuple[float, float], RiskLimit]:
        """By share and confidence: each takes as long as there are labels, and a long run asks once for every image."""
        return {}

    def risk_threshold(self, bad_share: float, confidence: float) -> float:
        """The same as a score. Raises ValueError, telling about how many labels are needed, when the labels don't allow the promise."""
        limit = self.risk(bad_share, confidence).limit
        if limit is None:
            needed = labels_needed(*self._labels, bad_share / 100, confidence / 100)
            raise ValueError(tell(len(self.labelled), needed, bad_share, confidence))
        return limit if self.direction is Direction.HIGH_IS_BAD else -limit

    @property
    def _labels(self) -> tuple[Tensor, Tensor]:
        """Badness of the labelled images, and which are bad."""
        return self.labelled if self.direction is Direction.HIGH_IS_BAD else -self.labelled, self.bad

    def label(self, scores: Tensor, bad: Tensor, further: Mapping[str, Tensor] | None = None) -> Calibration:
        """With labels for images of these scores, (M,) each; a score that has a label already gets the new one. Failed images get none."""
        finite, more = scores.isfinite(), further or {}
        new, verdicts = scores[finite].detach().cpu().double(), bad[finite].cpu()
        old = ~torch.isin(self.labelled, new)
        known, unknown = self.labelled[old], torch.full_like(new, math.nan)
        beside = {
            name: torch.cat(
                [
                    self.further[name][old] if name in self.further else torch.full_like(known, math.nan),
                    more[name][finite].detach().cpu().double() if name in more else unknown,
                ]
            )
            for name in sorted({*self.further, *more})
        }
        return replace(self, labelled=torch.cat([known, new]), bad=torch.cat([self.bad[old], verdicts]), further=beside)

    def early_stop(self) -> EarlyStop | None:
        """Learned from what several scores said of the labelled images; None where fewer than three are good or bad, or one score is known.

        Its scores are this calibration's own, by the name of its scorer, and ``further``.
        """
        if not self.further:
            return None
        names = (scorer_of(self.quantity), *self.further)
        rows = torch.stack([self.labelled, *self.further.values()], dim=1)
        known = rows.isfinite().all(dim=1)
        if min(int((self.bad & known).sum()), int((~self.bad & known).sum())) < FEWEST:
            return None
        return EarlyStop.fit(names, rows, self.bad)

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
        """This history and the scores of further runs. Raises ValueError when they hold other kinds of scores, or those of another host.

        most: how many scores to keep. Beyond it each of all scores ever collected has the same chance to be among them (Vitter 1985,
        Algorithm R), so that percentiles stay those of the whole. Deterministic. What ``holds`` is not counted twice.
        """
        self.check(other.quantity, other.direction)
        check_settings(self.settings, other.settings)
        again = self.holds(other)
        further = other.scores[~again]
        runs, seen = [*self.provenance, *other.provenance][-LATEST_RUNS:], self.seen + other.seen - int(again.sum())
        if most is None or seen <= most:
            scores = torch.cat([self.scores, further])
        else:
            scores = self.scores.new_tensor(sample(self.scores.tolist(), self.seen, further.tolist(), most))
        steps = self.steps if bool(again.any()) else join_steps(self.steps, other.steps)
        images = torch.cat([self.images, other.images[~torch.isin(other.images, self.images)]])[-LATEST_IMAGES:]
        joined = replace(
            self,
            scores=scores.sort().values,
            provenance=tuple(runs),
            seen=seen,
            steps=steps,
            collected={**self.collected, **other.collected},
            images=images,
        )
        return joined.label(other.labelled, other.bad, other.further)

    def holds(self, run: Calibration) -> Tensor:
        """(N,) bool: which images of a run, as ``fit`` makes it, were collected already, whether or not their scores are still here.

        Images that nobody told are known by their scores, as far as these are still here, and only when they come with labels.
        """
        known = torch.isin(run.images, self.images) if len(run.images) == len(run) else torch.zeros(len(run), dtype=torch.bool)
        if len(run.labelled) and len(self.images) < self.seen:
            known |= torch.isin(run.scores, self.scores)
        return known

    def thin(self, most: int) -> Calibration:
        """At most so many of the scores, a random sample. Deterministic."""
        return replace(self, scores=self.scores.new_tensor(sample(self.scores.tolist(), self.seen, [], most)).sort().values)

    def save(self, path: str | Path) -> None:
        """Write as safetensors. Raises OSError when the file cannot be written."""
        metadata: dict[str, Any] = {
            "direction": self.direction.value,
            "quantity": self.quantity,
            "provenance": list(self.provenance),
            "seen": self.seen,
        }
        metadata |= {"collected": dict(self.collected)} if self.collected else {}
        tensors = {"scores": self.scores}
        if self.steps is not None:
            tensors |= {"step_sigmas": self.steps.sigmas, "step_scores": self.steps.scores}
        if len(self.images):
            tensors |= {"images": self.images}
        if len(self.labelled):
            tensors |= {"labelled": self.labelled, "bad": self.bad.to(torch.uint8)}
            tensors |= {FURTHER + name: values for name, values in self.further.items()}
        save_tensors(path, tensors, KIND, VERSION, metadata)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what ``save`` wrote. Raises FileNotFoundError, or ValueError for a truncated, foreign or damaged file."""
        tensors, metadata = load_tensors(path, KIND, VERSION)
        with intact(path, KIND):
            scores = check_tensor("scores", tensors["scores"], (None,)).double()
            runs = tuple(check_texts("provenance", run) for run in check_list("provenance", metadata["provenance"]))
            seen = check_count("seen", metadata.get("seen", len(scores)), len(scores))  # files of earlier versions hold all
            steps = StepScores(tensors["step_sigmas"].double(), tensors["step_scores"].double()) if "step_sigmas" in tensors else None
            direction, quantity = Direction(metadata["direction"]), check_text("quantity", metadata["quantity"])
            collected = check_counts("collected", metadata.get("collected", {}))
            calibration = cls(scores, direction, quantity, runs, seen, steps=steps, collected=collected)
            if "images" in tensors:
                calibration = replace(calibration, images=check_tensor("images", tensors["images"], (None,), whole=True).long())
            if "labelled" not in tensors:
                return calibration
            labelled = check_tensor("labelled", tensors["labelled"], (None,)).double()
            bad = check_tensor("bad", tensors["bad"], (len(labelled),), 0, 1, whole=True)
            names = [name.removeprefix(FURTHER) for name in tensors if name.startswith(FURTHER)]
            further = {name: check_tensor(name, tensors[FURTHER + name], (len(labelled),), missing=True) for name in names}
            return calibration.label(labelled, bad.bool(), further)


def scorer_of(quantity: str) -> str:
    """Of "information at 0.25" the scorer."""
    return quantity.split(" at ")[0]


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
