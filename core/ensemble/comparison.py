"""Gathers what the members of an ensemble make of each step, in whatever portions it comes, and compares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..denoiser import Process
from ..options import Direction, EnsembleOptions, Moment
from ..result import Uncertainty
from .paide import Outcomes, Paide, distance_matrix, distance_rows, normalise_weights, pairwise_information
from .transition import outcome

QUANTITIES = ("epistemic", "distance")


@dataclass
class Comparison:
    """Belongs to one run. order: for each of K members, the place of its samples among those that are run.

    Members that are not run together wait for each other on the CPU, (S, B, C, ...) float32 each.
    """

    sigmas: Sequence[float]
    process: Process
    options: EnsembleOptions
    order: list[int]
    calls: int = 0
    levels: list[float] = field(default_factory=list)
    curve: list[Tensor] = field(default_factory=list)  # (2, B) each: I and the mean distance
    maps: Tensor | None = None  # (2, B, C, ...), their sum over steps
    last_outcomes: Outcomes | None = None  # of the step that the map is of
    waiting: dict[int, list[Tensor]] = field(default_factory=dict)  # by step

    def __post_init__(self) -> None:
        self.weights = normalise_weights(self.options.weights, len(self.order))
        self.runs = max(self.order) + 1

    def add(self, count: int, i: int, x: Tensor, x0: Tensor) -> None:
        """``count`` members' samples at level i, (count * B, C, ...), and their predictions. Compared once all have come."""
        self.calls += 1
        result = outcome(x, x0, self.sigmas[i], self.sigmas[i + 1], self.process, self.options.paide.distance)
        if result is None:
            return
        parts = self.waiting.setdefault(i, [])
        parts.append(result.mean.unflatten(0, (count, -1)))
        if sum(len(part) for part in parts) < self.runs:
            parts[-1] = parts[-1].cpu()  # it waits for other members' whole runs
            return
        del self.waiting[i]
        means = torch.cat([part.to(parts[0].device) for part in parts])[self.order]
        self.compare(self.sigmas[i], Outcomes(means, None if result.variance is None else result.variance.to(means)))

    def compare(self, sigma: float, outcomes: Outcomes) -> None:
        """outcomes: (K, B, C, ...) of one step."""
        options = self.options.paide
        scale = options.bandwidth or outcomes.mean[0, 0].numel()
        self.levels.append(sigma)
        self.curve.append(both(pairwise_information(distance_matrix(outcomes, options.distance), scale, self.weights)))
        if self.options.moment is Moment.MEAN:
            maps = self.per_pixel(outcomes)
            self.maps = maps if self.maps is None else self.maps + maps
        elif self.options.moment is Moment.LAST or self.last_outcomes is None:
            self.last_outcomes = outcomes

    def per_pixel(self, outcomes: Outcomes) -> Tensor:
        options = self.options.paide
        return both(pairwise_information(distance_rows(outcomes, options.distance), options.bandwidth or 1.0, self.weights))

    def results(self, nfe: float, seconds: float, provenance: dict[str, str]) -> tuple[Uncertainty, Uncertainty]:
        """I, and the raw mean distance between members. Raises ValueError when no step could be compared."""
        if not self.calls:
            raise ValueError("The sampler reported none of its steps, so there is nothing to compare: use another one.")
        if self.maps is not None:
            maps = self.maps / len(self.levels)
        elif self.last_outcomes is not None:
            maps = self.per_pixel(self.last_outcomes)
        else:
            name = self.options.paide.distance.value
            raise ValueError(f"No step after the branch has the variance that the distance {name!r} needs: branch earlier, or use 'w2'.")
        curves = torch.stack(self.curve, dim=1)
        scores = {Moment.FIRST: curves[:, 0], Moment.LAST: curves[:, -1], Moment.MEAN: curves.mean(dim=1)}[self.options.moment]
        information, distance = (
            Uncertainty(
                maps=maps[q].float(),
                scores=scores[q].float(),
                curve=curves[q].float(),
                sigmas=torch.tensor(self.levels),
                direction=Direction.HIGH_IS_BAD,
                quantity=quantity,
                nfe=nfe,
                seconds=seconds,
                provenance=provenance | self.note(curves[1]),
            )
            for q, quantity in enumerate(QUANTITIES)
        )
        return information, distance

    def note(self, distances: Tensor) -> dict[str, str]:
        """Why a score of 0 says nothing, where that is so. distances: (S, B)."""
        if len(self.order) == 1:
            return {"note": "One member has none to disagree with, so the uncertainty is 0: give two or more."}
        if alike := int((distances == 0).all(dim=0).sum()):
            return {"note": f"All members predict the same for {alike} of {distances.shape[1]} images: their uncertainty is 0."}
        return {}


def both(paide: Paide) -> Tensor:
    return torch.stack([paide.information, paide.distance])
