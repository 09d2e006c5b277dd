"""BayesDiff: the variance of the last layer's prediction, carried through a deterministic sampler to the image (Kou et al. 2024)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..denoiser import CountedDenoiser, Denoiser, Prediction, Process, check_step, finite_rows, output_from_x0, x0_from_output
from ..draws import evaluate, noise
from ..options import BayesDiffOptions, Direction
from ..result import Uncertainty, clock, pool
from .linear_steps import LinearStep

QUANTITY = "bayesdiff"
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3, torch.float16: 2e-2}  # of a step, over its largest value
COARSE_TOLERANCE = 1e-1  # in bfloat16 or less

log = logging.getLogger(__name__)


@dataclass
class Propagation:
    """Var[x] along one run of a sampler, pixel by pixel; E[x] is the sampler's own x. Belongs to that run alone.

    state: (2, 2, B, C, ...) covariance of (x, x0_before): the starting noise is known, so it begins at zero.
    nfe: evaluations per image; a host that runs a pass of its own for ``output_variance`` adds it.
    expected: the sample that the next step must begin with; off: by how much a step differed, over its largest value, step by step.
    """

    options: BayesDiffOptions
    process: Process
    prediction: Prediction
    state: Tensor | None = field(default=None, repr=False)
    curve: list[Tensor] = field(default_factory=list, repr=False)
    sigmas: list[float] = field(default_factory=list)
    nfe: float = 0.0
    seconds: float = 0.0
    expected: Tensor | None = field(default=None, repr=False)
    x0_before: Tensor | None = field(default=None, repr=False)
    off: dict[int, float] = field(default_factory=dict)

    def check(self, x: Tensor) -> None:
        """Whether the sampler came to x (B, C, ...) by the linear step that ``expect`` was told. Ask before ``advance``.

        Where it did not, another patch had a hand in it, or the sampler adds noise: the variance is not that of these images, which
        the result then says as its caution. The sampling goes on: its images are as good as ever.
        """
        if self.expected is None:
            return
        off, largest = (value.flatten(1).amax(dim=1) for value in ((x.float() - self.expected).abs(), self.expected.abs()))
        relative = (off / largest.clamp_min(1))[off.isfinite()]  # an image that failed says nothing of the sampler
        worst = float(relative.max()) if len(relative) else 0.0
        if worst > TOLERANCE.get(x.dtype, COARSE_TOLERANCE):
            if not self.off:
                log.warning("BayesDiff: step %d was not the linear step of the sampler (off by %.2g).", len(self.sigmas), worst)
            self.off[len(self.sigmas)] = worst

    def expect(self, x: Tensor, y: Tensor, sigma: Tensor, linear: LinearStep) -> None:
        """The step that the sampler should take from x, given the network's output y there, both (B, C, ...). Ask after ``advance``."""
        x, y = x.float(), y.float()
        expected = linear.a * x + linear.b * y
        if linear.c and self.x0_before is not None:
            expected = expected + linear.c * self.x0_before
        self.expected, self.x0_before = expected, x0_from_output(y, x, sigma, self.process, self.prediction)

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
        An image that is not finite, or whose variance is not, has a variance of NaN from there on.
        Raises ValueError for mismatched shapes, sigma <= 0, or a variance that is negative.
        Source: Kou et al. 2024 (BayesDiff, arXiv 2310.11142), and their published code.
        """
        sigma, start, step = check_step(x, x, sigma), clock(x), len(self.sigmas)
        if self.state is None:
            self.state = x.new_zeros((2, 2, *x.shape), dtype=torch.float32)
        counted, variance = CountedDenoiser(denoise, passes), self.state[0, 0]
        covariance, of_output = torch.zeros_like(variance), torch.zeros_like(variance)
        if step % self.options.every == 0:
            of_output = torch.where(rows_like(finite_rows(x), x), check_variance(output_variance(), x), math.nan)
            if bool(variance.nan_to_num().any()):
                covariance, through_x = self._moments(counted, x, variance, sigma, step)
                of_output = of_output + through_x
        self.state = carry(self.state, linear, covariance, of_output)
        if mask is not None:
            self.state = self.state * mask.square()
        self.curve.append(pool(self.state[0, 0], self.options.pooling))
        self.sigmas.append(float(sigma.max()))
        self.nfe += counted.rows / x.shape[0]
        self.seconds += clock(x) - start
        return self.state[0, 0]

    def _moments(self, denoise: Denoiser, x: Tensor, variance: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Cov(x, y) and Var_x[y(x)], each (B, C, ...), by regression of y on x over the draws: slope Var[x], slope^2 Var[x] + the rest.

        Plain moments of a few draws would not do, since the terms of Var[x'] nearly cancel; Var[x] is known, so only the slope is left to
        chance. Exact where a pixel's output is linear in that pixel alone, and Var[x'] cannot fall below 0.
        """
        draws = self.options.draws
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
        if self.off:
            described["caution"] = (
                f"The sampler did not take its linear step {len(self.off)} times of {len(self.sigmas)} (off by up to "
                f"{max(self.off.values()):.2g}), so the variance is not that of the images: another patch changed them, or noise was added."
            )
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
    through = torch.where(variance == 0, 0.0, across / variance * covariance)
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
    if bool((variance < 0).any()):
        raise ValueError("output_variance must not be negative; raise prior_precision, or run the network in float32.")
    return torch.where(rows_like(finite_rows(variance), x), variance.float(), math.nan)


def rows_like(rows: Tensor, x: Tensor) -> Tensor:
    """(B,) -> (B, 1, ..., 1), to broadcast with x."""
    return rows.view(-1, *[1] * (x.ndim - 1))
