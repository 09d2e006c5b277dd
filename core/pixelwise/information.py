"""Prompt information: how much of its condition an image carries, by what knowing the condition does for denoising it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..denoiser import CountedDenoiser, Denoiser, Process, add_noise, check_latents
from ..draws import evaluate, noise
from ..options import Direction, DrawOptions, InformationOptions
from ..result import Uncertainty, clock
from .quadrature import Quadrature, log_snr

QUANTITY = "information"


@dataclass(frozen=True, eq=False)
class Information:
    """Pointwise information of B images about a condition, in nats; low = bad.

    result: scores (B,) = i(x; c); maps (B, C, ...) the same per pixel, signed, they sum to the score;
        curve (S, B) nats per unit of log SNR at each level, whose weighted sum is the score.
    standard_error: (B,) of the score, from the noise draws alone; NaN where one draw (or antithetic pair) a level leaves none.
    mutual: (B, C, ...) >= 0, conditional mutual information: where the condition matters to the model, whether or not the image heeds it.
    """

    result: Uncertainty
    standard_error: Tensor
    mutual: Tensor


@dataclass(frozen=True, eq=False)
class ConditionPosterior:
    """Which of K conditions it is: probabilities (B, K), rows sum to 1, and the K results behind them."""

    probabilities: Tensor
    information: list[Information]


def pixel_information(x0: Tensor, conditional: Tensor, unconditional: Tensor, snr: float) -> tuple[Tensor, Tensor]:
    """The two integrands over log SNR, per pixel: 1/2 (|z - eps(none)|^2 - |z - eps(c)|^2) and 1/2 |eps(none) - eps(c)|^2.

    In x0 terms, where no digits cancel: z - eps = sqrt(snr) (D - x0) with snr = alpha^2 / sigma^2, so they are
    snr / 2 (D_c - D_none) (2 x0 - D_c - D_none) and snr / 2 (D_c - D_none)^2. Exactly 0 where the condition changes nothing.
    x0: (B, C, ...); conditional, unconditional: predictions of x0, (M, B, C, ...).
    Source: Kong et al. 2024 (arXiv 2310.07972), the pointwise estimators of I(x; c); Guo et al. 2005 (I-MMSE).
    """
    gain = conditional - unconditional
    return snr / 2 * gain * (2 * x0 - conditional - unconditional), snr / 2 * gain.square()


def squared_error(draws: Tensor, antithetic: bool) -> Tensor:
    """Squared standard error of the mean of M draws (M, B) -> (B,); an antithetic pair counts as one. NaN when only one is left."""
    units = draws.unflatten(0, (-1, 2)).mean(dim=1) if antithetic else draws
    if len(units) < 2:
        return torch.full_like(units[0], math.nan)
    return units.var(dim=0) / len(units)


@dataclass
class _Integral:
    """One comparison, summed over levels."""

    draws: DrawOptions
    maps: Tensor
    mutual: Tensor
    variance: Tensor
    curve: list[Tensor] = field(default_factory=list)

    @classmethod
    def zero(cls, latents: Tensor, draws: DrawOptions) -> _Integral:
        blank = torch.zeros_like(latents, dtype=torch.float32)
        return cls(draws, blank, blank.clone(), blank.new_zeros(len(latents)))

    def add(self, pointwise: Tensor, mutual: Tensor, weight: float) -> None:
        """pointwise, mutual: (M, B, C, ...), one level's integrands."""
        totals = pointwise.flatten(2).sum(dim=2)
        self.maps += weight * pointwise.mean(dim=0)
        self.mutual += weight * mutual.mean(dim=0)
        self.variance += weight**2 * squared_error(totals, self.draws.antithetic)
        self.curve.append(totals.mean(dim=0))


def compare(
    reference: Denoiser,
    others: Sequence[Denoiser],
    latents: Tensor,
    quadrature: Quadrature,
    process: Process,
    options: InformationOptions,
    sign: int = 1,
) -> list[Information]:
    """For each of others: 1/2 integral d logSNR E_z [ |z - eps_reference(x_s)|^2 - |z - eps_other(x_s)|^2 ], x_s = alpha x0 + sigma z.

    That is what it knows beyond the reference; with sign -1, what the reference knows beyond it. Every denoiser is run once a draw,
    on the same x_s as the others: M evaluations per level each. Their number and the seconds are split evenly among the results,
    so that these add up to what was run. latents x0: (B, C, ...), any float dtype. An image that is not finite scores NaN.
    Raises ValueError for an empty batch.
    """
    check_latents(latents)
    start, x0 = clock(latents), latents.float()
    base, *counted = (CountedDenoiser(d) for d in (reference, *others))
    integrals = [_Integral.zero(latents, options.draws) for _ in others]
    for step, (sigma, weight) in enumerate(zip(quadrature.sigmas, quadrature.weights, strict=True)):
        level, snr = x0.new_full((len(x0),), sigma), math.exp(log_snr(sigma, process))
        x_s = torch.stack([add_noise(x0, z, level, process) for z in noise(options.draws, step, x0)])
        without = evaluate(base, x_s, level, latents.dtype, options.draws.micro_batch)
        for integral, denoise in zip(integrals, counted, strict=True):  # one after the other: there may be a thousand classes
            conditional = evaluate(denoise, x_s, level, latents.dtype, options.draws.micro_batch)
            pointwise, mutual = pixel_information(x0, conditional, without, snr)
            integral.add(sign * pointwise, mutual, weight)
    nfe = sum(d.rows for d in (base, *counted)) / len(latents) / len(others)
    seconds = (clock(latents) - start) / len(others)
    return [_finish(i, quadrature, options, process, nfe, seconds) for i in integrals]


def _finish(
    total: _Integral, quadrature: Quadrature, options: InformationOptions, process: Process, nfe: float, seconds: float
) -> Information:
    d = options.draws
    provenance = {
        "method": "prompt information",
        "samples": str(d.samples),
        "seed": str(d.seed),
        "antithetic": str(d.antithetic),
        "process": process.value,
        "log_snr": ", ".join(f"{log_snr(s, process):.3g}" for s in quadrature.sigmas),
    }
    if unchanged := int((total.mutual.flatten(1) == 0).all(dim=1).sum()):
        provenance["note"] = (
            f"The prediction is the same with and without the condition for {unchanged} of {len(total.maps)} images: "
            "their information is 0."
        )
    result = Uncertainty(
        maps=total.maps,
        scores=total.maps.flatten(1).sum(dim=1),
        curve=torch.stack(total.curve),
        sigmas=torch.tensor(quadrature.sigmas),
        direction=Direction.LOW_IS_BAD,
        quantity=QUANTITY,
        nfe=nfe,
        seconds=seconds,
        provenance=provenance,
    )
    return Information(result, total.variance.sqrt(), total.mutual)


def estimate_information(
    conditional: Denoiser | None,
    unconditional: Denoiser | None,
    latents: Tensor,
    quadrature: Quadrature,
    process: Process,
    options: InformationOptions | None = None,
) -> Information:
    """i(x; c) = log p(x | c) / p(x) under the model: 1/2 integral d logSNR E_z [ |z - eps(x_s, none)|^2 - |z - eps(x_s, c)|^2 ].

    Over the levels of ``quadrature``; the whole of it for a window that covers every level where the integrand is not 0.
    Finished samples ``latents`` (B, C, ...). NFE: 2 M per level. Raises ValueError when either denoiser is missing.
    Source: Kong et al. 2023 (arXiv 2302.03792) and 2024 (arXiv 2310.07972).
    """
    if conditional is None or unconditional is None:
        missing = "condition" if conditional is None else "empty condition to compare with"
        raise ValueError(f"There is no {missing}: prompt information needs the model's prediction with and without a condition.")
    return compare(unconditional, [conditional], latents, quadrature, process, options or InformationOptions())[0]


def condition_posterior(
    conditionals: Sequence[Denoiser],
    unconditional: Denoiser,
    latents: Tensor,
    quadrature: Quadrature,
    process: Process,
    options: InformationOptions | None = None,
    log_prior: Sequence[float] | None = None,
) -> ConditionPosterior:
    """p(c_k | x) = softmax_k ( i(x; c_k) + log p(c_k) ): which of K conditions the image is, without any training.

    log_prior: K numbers, up to a constant; even when left out. NFE: (K + 1) M per level, the unconditional ones shared.
    Raises ValueError for no condition, or a prior that does not fit. Source: Li et al. 2023 (arXiv 2303.16203), Bayes' rule on the ELBOs.
    """
    if len(conditionals) == 0:
        raise ValueError("There is no condition: give at least one to compare the image with.")
    prior = torch.zeros(len(conditionals)) if log_prior is None else torch.tensor(list(log_prior), dtype=torch.float32)
    if len(prior) != len(conditionals) or bool(prior.isnan().any()) or not bool(prior.isfinite().any()):
        raise ValueError(f"log_prior needs one number for each of {len(conditionals)} conditions, got {prior.tolist()}.")
    results = compare(unconditional, conditionals, latents, quadrature, process, options or InformationOptions())
    scores = torch.stack([r.result.scores for r in results], dim=1)
    return ConditionPosterior((scores + prior.to(scores.device)).softmax(dim=1), results)


def part_information(
    whole: Denoiser,
    without: Sequence[Denoiser],
    latents: Tensor,
    quadrature: Quadrature,
    process: Process,
    options: InformationOptions | None = None,
) -> list[Information]:
    """What each part of a condition adds given the rest: i(x; c) - i(x; c without part k), for k = 1..K.

    whole: the denoiser under the full condition c; without[k]: under c without its part k. The unconditional prediction cancels
    from the difference and is never run. NFE: (K + 1) M per level. The part with the lowest score is the one most ignored.
    Raises ValueError when there is no part.
    """
    if len(without) == 0:
        raise ValueError("There is no part to check: give the condition without each of its parts, at least one.")
    return compare(whole, without, latents, quadrature, process, options or InformationOptions(), sign=-1)
