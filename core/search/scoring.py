"""What candidates are compared by while they are sampled: their predicted images, noised again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..denoiser import CountedDenoiser, Denoiser, Process, add_noise, eps_from_x0
from ..draws import evaluate, noise
from ..options import DIRECTION_OF_FREE, Direction, DrawOptions, Scorer
from ..pixelwise.information import pixel_information
from ..pixelwise.quadrature import log_snr
from ..schedule import PercentToSigma
from ..selection.ranks import rank_average

DIRECTION_OF_SCORER = {
    Scorer.INFORMATION: Direction.LOW_IS_BAD,
    Scorer.DENOISED: Direction.HIGH_IS_BAD,
    Scorer.NOISE: Direction.LOW_IS_BAD,
    **{scorer: DIRECTION_OF_FREE[scorer.free] for scorer in Scorer if scorer.free is not None},
}

EARLIEST = 0.02  # of the schedule: where flow matching begins, nothing of an image is left to compare
MIDDLE = 0.5  # of the schedule: on the demo model prompt information tells most there, and little at lower noise


def comparison_sigma(sigma: float, percent_to_sigma: PercentToSigma) -> float:
    """The level to noise images to at a step at ``sigma``, 0 for finished ones: its own, but back to the middle once that is passed.

    And no earlier than EARLIEST, so that a comparison at the very first step has something to compare.
    """
    return min(max(sigma, percent_to_sigma(MIDDLE)), percent_to_sigma(EARLIEST))


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of B candidates at one point, (B,) float32 by scorer. rows: network passes that they cost, of all candidates together.

    maps: what each score sums (information) or averages, (B, C, ...) by scorer.
    """

    by: Mapping[Scorer, Tensor]
    rows: int = 0
    maps: Mapping[Scorer, Tensor] = field(default_factory=dict)

    def badness(self, scorers: Sequence[Scorer]) -> Tensor:
        """(B,) high = bad: the one score turned, or several joined by rank."""
        turned = [self.by[s] if DIRECTION_OF_SCORER[s] is Direction.HIGH_IS_BAD else -self.by[s] for s in scorers]
        return turned[0] if len(turned) == 1 else rank_average(turned, [1.0] * len(turned))


def score_candidates(
    conditional: Denoiser,
    unconditional: Denoiser | None,
    x0: Tensor,
    sigma: float,
    process: Process,
    draws: DrawOptions,
    scorers: Sequence[Scorer],
) -> Scores:
    """Scores of predicted or finished images x0 (B, C, ...), noised to one level: x_i = alpha x0 + sigma z_i, i = 1..M.

    information: mean_i of snr / 2 sum (D_c - D_none)(2 x0 - D_c - D_none), nats per unit of log SNR (see ``pixel_information``);
    denoised: mean over pixels of Var_i(D_c); noise: the same of eps_i. The draws are the same for every candidate and every scorer.
    scorers: those that draw; for free ones see ``core.search.free``. Calls a candidate: M, and M more with information.
    What is not finite gets NaN and does not touch the others.
    Raises ValueError where information is asked for and ``unconditional`` is missing.
    """
    if Scorer.INFORMATION in scorers and unconditional is None:
        raise ValueError(
            "The scorer 'information' compares predictions with and without the condition, and there is no empty condition here; "
            "give one, sample with guidance above 1, or choose the scorer 'denoised'."
        )
    counted = CountedDenoiser(conditional)
    base, level = x0.float(), x0.new_full((len(x0),), sigma, dtype=torch.float32)
    x = torch.stack([add_noise(base, z, level, process) for z in noise(draws, 0, base)])
    given = evaluate(counted, x, level, x0.dtype, draws.micro_batch)
    rows, maps = counted.rows, {}
    if Scorer.INFORMATION in scorers and unconditional is not None:
        counted = CountedDenoiser(unconditional)
        without = evaluate(counted, x, level, x0.dtype, draws.micro_batch)
        pointwise, _ = pixel_information(base, given, without, math.exp(log_snr(sigma, process)))
        maps[Scorer.INFORMATION] = pointwise.mean(dim=0)
        rows += counted.rows
    if Scorer.DENOISED in scorers:
        maps[Scorer.DENOISED] = given.var(dim=0)
    if Scorer.NOISE in scorers:
        maps[Scorer.NOISE] = torch.stack([eps_from_x0(x_i, d, level, process) for x_i, d in zip(x, given, strict=True)]).var(dim=0)
    scores = {s: m.flatten(1).sum(dim=1) if s is Scorer.INFORMATION else m.flatten(1).mean(dim=1) for s, m in maps.items()}
    return Scores(scores, rows, maps)
