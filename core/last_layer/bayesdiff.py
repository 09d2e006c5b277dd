"""BayesDiff: the variance of the last layer's prediction, carried through a deterministic sampler to the image (Kou et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..denoiser import CountedDenoiser, Denoiser, Prediction, Process, check_step, output_from_x0
from ..draws import evaluate, noise
from ..options import BayesDiffOptions, Direction
from ..result import Uncertainty, clock, pool
from .linear_steps import LinearStep

QUANTITY = "bayesdiff"


@dataclass
class Propagation:
    """Var[x] along one run of a sampler, pixel by pixel; E[x] is the sampler's own x. Belongs to that run alone.

    state: (2, 2, B, C, ...) covariance of (x, x0_before): the starting noise is known, so it begins at zero.
    nfe: evaluations per image; a host that runs a pass of its own for ``output_variance`` adds it.
    """

    options: BayesDiffOptions
    process: Process
    prediction: Prediction
    state: Tensor | None = field(default=None, repr=False)
    curve: list[Tensor] = field(default_factory=list, repr=False)
    sigmas: list[float] = field(default_factory=list)
    nfe: float = 0.0
    seconds: float = 0.0

    def advance(
        self,
        denoise: Denoiser,
        x: Tensor,
        sigma: Tensor,
        linear: LinearStep,
        output_variance: Callable[[], Tensor],
        passes: int = 1,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Var[x'] (B, C, ...) float32 after the step that leaves the sample x (B, C, ...) at level sigma. Ask once per sampling step.

        For x' = a x + b y:  Var[x'] = a^2 Var[x] + 2 a b Cov(x, y) + b^2 Var[y], with Var[y] = output_variance + Var_x[y(x)].
        Cov(x, y) and Var_x come from S draws x_s ~ N(x, Var[x]): S evaluations per image, none while Var[x] = 0. On the steps that
        ``options.every`` leaves out, y counts as exact and costs nothing. The published code has no Var_x, and so breaks the law of
        total variance. Weights count as drawn anew at every step, pixels as independent.
        output_variance: () -> variance over the weights of the network's output at x (B, C, ...), asked for on uncertain steps only.
        mask: broadcasts to x: the share of x' and x0 that the sampler goes on with, beside what the host puts there.
        Raises ValueError for mismatched shapes, sigma <= 0, or a variance that is negative or not finite.
        Source: Kou et al. 2024 (BayesDiff, arXiv 2310.11142), and their published code.
        """
        sigma, start, step = check_step(x, x, sigma), clock(x), len(self.sigmas)
        if self.state is None:
            self.state = x.new_zeros((2, 2, *x.shape), dtype=torch.float32)
        counted, variance = CountedDenoiser(denoise, passes), self.state[0, 0]
        covariance, of_output = torch.zeros_like(variance), torch.zeros_like(variance)
        if step % self.options.every == 0:
            of_output = check_variance(output_variance(), x)
            if bool(variance.any()):
                covariance, through_x = self._moments(counted, x, sigma, step)
                of_output = of_output + through_x
        self.state = carry(self.state, linear, covariance, of_output)
        if mask is not None:
            self.state = self.state * mask.square()
        self.curve.append(pool(self.state[0, 0], self.options.pooling))
        self.sigmas.append(float(sigma.max()))
        self.nfe += counted.rows / x.shape[0]
        self.seconds += clock(x) - start
        return self.state[0, 0]

    def _moments(self, denoise: Denoiser, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Cov(x, y) and Var_x[y(x)], each (B, C, ...), by regression of y on x over the draws: slope Var[x], slope^2 Var[x] + the rest.

        Plain moments of a few draws would not do, since the terms of Var[x'] nearly cancel; Var[x] is known, so only the slope is left to
        chance. Exact where a pixel's output is linear in that pixel alone, and Var[x'] cannot fall below 0.
        """
        variance, draws = self.state[0, 0], self.options.draws
        x_s = (x.float() + variance.sqrt() * noise(draws, step, x)).to(x.dtype).float()  # as the network sees it
        x0_s = evaluate(denoise, x_s, sigma, x.dtype, draws.micro_batch)
        y_s = torch.stack([output_from_x0(d, p, sigma, self.process, self.prediction) for d, p in zip(x0_s, x_s, strict=True)])
        off_x, off_y = x_s - x_s.mean(dim=0), y_s - y_s.mean(dim=0)
        slope = (off_x * off_y).sum(dim=0) / off_x.square().sum(dim=0).clamp_min(1e-30)
        rest = (off_y - slope * off_x).square().sum(dim=0) / max(draws.samples - 2, 1)
        return slope * variance, slope.square() * variance + rest

    def result(self, provenance: dict[str, str] | None = None) -> Uncertainty:
        """Map: Var[x] after the last step. Score: that, pooled (the paper: its sum). Curve: the same after every step.

        Raises ValueError when no step was taken.
        """
        if self.state is None:
            raise ValueError("No step was taken: BayesDiff must see every step of the sampler, from the first.")
        d = self.options.draws
        described = {
            "method": "bayesdiff",
            "samples": str(d.samples),
            "seed": str(d.seed),
            "antithetic": str(d.antithetic),
            "every": str(self.options.every),
            "pooling": self.options.pooling.value,
            "process": self.process.value,
            "prediction": self.prediction.value,
        }
        return Uncertainty(
            maps=self.state[0, 0],
            scores=self.curve[-1],
            curve=torch.stack(self.curve),
            sigmas=torch.tensor(self.sigmas),
            direction=Direction.HIGH_IS_BAD,
            quantity=QUANTITY,
            nfe=self.nfe,
            seconds=self.seconds,
            provenance=described | (provenance or {}),
        )


def carry(state: Tensor, linear: LinearStep, covariance: Tensor, of_output: Tensor) -> Tensor:
    """The covariance (2, 2, B, ...) of (x', x0) from that of (x, x0_before), Cov(x, y) and Var[y] (B, ...).

    Both are linear in (x, y, x0_before). y meets x0_before through x alone: Cov(y, x0_before) = Cov(y, x) Cov(x, x0_before) / Var[x].
    """
    variance, across, before = state[0, 0], state[0, 1], state[1, 1]
    through = torch.where(variance > 0, across / variance * covariance, 0.0)
    rows = [[variance, covariance, across], [covariance, of_output, through], [across, through, before]]
    joint = torch.stack([torch.stack(row) for row in rows])
    weights = joint.new_tensor([[linear.a, linear.b, linear.c], [*linear.clean, 0.0]])
    after = torch.einsum("ri,ij...,qj->rq...", weights, joint, weights)
    for i in range(2):
        after[i, i].clamp_(min=0)  # rounding
    return after


def check_variance(variance: Tensor, x: Tensor) -> Tensor:
    """Raises ValueError, in a sentence, for what is no variance of a prediction at x. NaN is that of an image that failed, alone."""
    if variance.shape != x.shape:
        raise ValueError(f"output_variance must have the shape of x, {tuple(x.shape)}, got {tuple(variance.shape)}.")
    if bool(variance.isinf().any()) or bool((variance < 0).any()):
        raise ValueError("output_variance must be finite and not negative; raise prior_precision, or run the network in float32.")
    return variance.float()
