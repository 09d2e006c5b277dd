"""Scores that the steps of a sampling give at no model call, recorded as the sampler takes them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..denoiser import Process
from ..options import DIRECTION_OF_FREE, FreeOptions, FreeScore, Pooling
from ..result import Uncertainty, clock, pool
from .condition_gap import condition_gap
from .trajectory import Trajectory

NO_GAP = (
    "There is no condition gap: it compares the predictions with and without the prompt, and this run made only the one with it. "
    "Sample with classifier-free guidance (a cfg other than 1), or choose the score 'trajectory'."
)

FEWEST_STEPS = {FreeScore.TRAJECTORY: 2, FreeScore.CONDITION_GAP: 1}  # in the window


@dataclass
class FreeRecorder:
    """One run's score. Keeps a few maps, whatever the number of steps. Belongs to that run alone.

    nfe: 0, what recording costs in network evaluations.  seconds: of arithmetic.  halved: whether a step lacked its unconditional half.
    """

    options: FreeOptions
    process: Process
    trajectory: Trajectory = field(default_factory=Trajectory)
    total: Tensor | None = None
    curve: list[Tensor] = field(default_factory=list)
    sigmas: list[float] = field(default_factory=list)
    nfe: float = 0.0
    seconds: float = 0.0
    halved: bool = False

    def observe(self, x0: Tensor, conditional: Tensor, unconditional: Tensor | None, sigma: Tensor) -> None:
        """One step inside the window. x0: the prediction that the sampler follows, (B, C, ...), and its two parts. sigma: (B,) > 0."""
        start = clock(x0)
        if self.options.score is FreeScore.TRAJECTORY:
            self.trajectory.add(x0)
            step_map = self.trajectory.variance
        elif unconditional is None:
            self.halved = True
            return
        else:
            step_map = condition_gap(conditional, unconditional, sigma, self.process, self.options.weight)
            self.total = step_map if self.total is None else self.total + step_map
        self.curve.append(pool(step_map, self.options.pooling))
        self.sigmas.append(float(sigma.max()))
        self.seconds += clock(x0) - start

    def result(self, provenance: dict[str, str] | None = None) -> Uncertainty:
        """trajectory: map = the variance over the recorded steps, score = it pooled, curve = the same up to each step.

        condition_gap: map = mean over the steps, score = mean over the steps of the pooled map (their sum with Pooling.SUM).
        Raises ValueError when too few steps fell into the window, or no step had an unconditional half for the condition gap.
        """
        options, steps = self.options, len(self.sigmas)
        if self.halved and not steps:
            raise ValueError(NO_GAP)
        check_steps(options, steps)
        curve = torch.stack(self.curve)
        if self.total is None:
            maps, scores = self.trajectory.variance, curve[-1]
        else:
            maps, scores = self.total / steps, curve.sum(dim=0) if options.pooling is Pooling.SUM else curve.mean(dim=0)
        return Uncertainty(
            maps=maps,
            scores=scores,
            curve=curve,
            sigmas=torch.tensor(self.sigmas),
            direction=DIRECTION_OF_FREE[options.score],
            quantity=options.score.value,
            nfe=self.nfe,
            seconds=self.seconds,
            provenance=describe(options, self.process) | (provenance or {}),
        )


def check_steps(
    options: FreeOptions, steps: int, way_out: str = "Widen the window (start_percent, end_percent) or use more steps."
) -> None:
    """Raises ValueError when fewer steps lie in the window than the score needs."""
    needed, window = FEWEST_STEPS[options.score], options.steps
    if steps < needed:
        raise ValueError(
            f"Too few steps: {options.score.value} needs {needed} of the sampling's steps between {window.start:g} and {window.end:g} of "
            f"the noise schedule, and there were {steps}. {way_out}"
        )


def describe(options: FreeOptions, process: Process) -> dict[str, str]:
    window = options.steps
    told = {"method": options.score.value, "window": f"{window.start:g}-{window.end:g} every {window.every}"}
    weight = {"weight": options.weight.value} if options.score is FreeScore.CONDITION_GAP else {}
    return told | weight | {"pooling": options.pooling.value, "process": process.value}
