"""Pixel-wise aleatoric uncertainty of one model: re-noise, re-predict, variance (De Vita & Belagiannis 2024, Alg. 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..denoiser import CountedDenoiser, Denoiser, Process, add_noise, check_latents, check_step, eps_from_x0, expand
from ..draws import evaluate, noise
from ..options import DIRECTION_OF, AleatoricOptions, Center, Pooling, Quantity
from ..result import Uncertainty, clock, pool
from .posterior import posterior_variance

OnLevel = Callable[[int, float, Tensor], None]  # number of the level, its sigma, (B,) scores there


@dataclass(frozen=True)
class Spread:
    """One step's spreads, from the same evaluations: V = Var(x0_i), U = Var(eps_i), and C, see ``posterior``; (B, C, ...) float32.

    posterior: None where the draws differ by more than their noise (dropout).
    """

    denoised: Tensor
    noise: Tensor
    posterior: Tensor | None = None

    def __getitem__(self, quantity: Quantity) -> Tensor | None:
        return getattr(self, quantity.value)


@dataclass(frozen=True)
class Redraws:
    """M re-noised copies of a prediction and what the model makes of them, each (M, B, C, ...) float32."""

    x: Tensor
    x0: Tensor
    eps: Tensor

    def posterior(self, sigma: Tensor, process: Process, antithetic: bool = False) -> Tensor:
        """C (B, C, ...), see ``posterior_variance``; z_i - mean z = (x_i - mean x) / sigma."""
        return posterior_variance(self.x / expand(sigma, self.x[0]), self.x0, sigma, process, antithetic)


def variance(draws: Tensor, prediction: Tensor, center: Center) -> Tensor:
    """Spread of M draws (M, B, ...): around their mean with divisor M - 1 (eq. 8), or around ``prediction`` (B, ...) with divisor M."""
    if center is Center.MEAN:
        return draws.var(dim=0)
    return (draws - prediction).square().mean(dim=0)


def redraw(denoise: Denoiser, x0: Tensor, sigma: Tensor, process: Process, z: Tensor, micro_batch: int = 1) -> Redraws:
    """x_i = alpha x0 + sigma z_i;  x0_i = denoise(x_i, sigma);  eps_i = (x_i - alpha x0_i) / sigma.

    x0 (B, C, ...), sigma (B,) > 0, z (M, 1 or B, C, ...). Computed in float32, the denoiser is fed x0's dtype.
    Source: De Vita & Belagiannis 2024, Alg. 1 lines 3-5 with the fresh noise of eq. 2 in line 4.
    """
    base = x0.float()
    x_i = torch.stack([add_noise(base, z_i, sigma, process) for z_i in z])
    x0_i = evaluate(denoise, x_i, sigma, x0.dtype, micro_batch)
    eps_i = torch.stack([eps_from_x0(x, d, sigma, process) for x, d in zip(x_i, x0_i, strict=True)])
    return Redraws(x_i, x0_i, eps_i)


def estimate_aleatoric_step(
    denoise: Denoiser, x: Tensor, x0: Tensor, sigma: Tensor, process: Process, options: AleatoricOptions, step: int
) -> Spread:
    """Uncertainty at one step of a running sampler, whose sample is ``x`` and whose own prediction is ``x0``.

    U = Var_i(eps_i) and V = Var_i(x0_i) over the M redraws of x0. Costs M evaluations per image.
    x, x0: (B, C, ...), any float dtype; sigma: (B,) or scalar, > 0; step: index that selects the noise draws.
    Raises ValueError for mismatched shapes, an empty batch, sigma <= 0 or not finite. NaN in a latent stays in that image's map.
    Source: De Vita & Belagiannis 2024, Alg. 1, eq. 7-8.
    """
    sigma = check_step(x, x0, sigma)
    redraws = redraw(denoise, x0, sigma, process, noise(options.draws, step, x0), options.draws.micro_batch)
    eps = eps_from_x0(x.float(), x0.float(), sigma, process)
    denoised, spread = variance(redraws.x0, x0.float(), options.center), variance(redraws.eps, eps, options.center)
    return Spread(denoised, spread, redraws.posterior(sigma, process, options.draws.antithetic))


@dataclass
class Recorder:
    """Gathers the steps of one run into an Uncertainty; every quantity, since they cost one price. Belongs to that run alone."""

    options: AleatoricOptions
    process: Process
    totals: dict[Quantity, Tensor] = field(default_factory=dict)
    curves: dict[Quantity, list[Tensor]] = field(default_factory=lambda: {quantity: [] for quantity in Quantity})
    sigmas: list[float] = field(default_factory=list)
    nfe: float = 0.0
    seconds: float = 0.0

    def measure(self, denoise: Denoiser, x: Tensor, x0: Tensor, sigma: Tensor, step: int, passes: int = 1) -> Spread:
        """``estimate_aleatoric_step``, recorded. passes: network passes behind one evaluation (2 under classifier-free guidance)."""
        start = clock(x)
        counted = CountedDenoiser(denoise, passes)
        spread = estimate_aleatoric_step(counted, x, x0, sigma, self.process, self.options, step)
        self.add(spread, float(torch.as_tensor(sigma).max()), counted.rows / x.shape[0], clock(x) - start)
        return spread

    def add(self, spread: Spread, sigma: float, nfe: float, seconds: float) -> None:
        for quantity in Quantity:
            step_map = spread[quantity]
            if step_map is None:
                continue
            self.totals[quantity] = self.totals[quantity] + step_map if quantity in self.totals else step_map
            self.curves[quantity].append(pool(step_map, self.options.pooling))
        self.sigmas.append(sigma)
        self.nfe += nfe
        self.seconds += seconds

    def result(self, provenance: dict[str, str] | None = None, quantity: Quantity | None = None) -> Uncertainty:
        """Map: mean over the recorded steps. Score: mean over steps of the pooled map; with Pooling.SUM their sum, as in the paper.

        quantity: the one of the options when left out. Raises ValueError when no step fell into the window.
        """
        quantity = quantity or self.options.quantity
        if not self.sigmas:
            w = self.options.window
            raise ValueError(
                f"No step was measured: no sampling step lies between {w.start:g} and {w.end:g} of the noise schedule. "
                "Widen the window (start_percent, end_percent) or use more steps."
            )
        curve = torch.stack(self.curves[quantity])
        score = curve.sum(dim=0) if self.options.pooling is Pooling.SUM else curve.mean(dim=0)
        return Uncertainty(
            maps=self.totals[quantity] / len(self.sigmas),
            scores=score,
            curve=curve,
            sigmas=torch.tensor(self.sigmas),
            direction=DIRECTION_OF[quantity],
            quantity=quantity.value,
            nfe=self.nfe,
            seconds=self.seconds,
            provenance=describe_options(self.options, self.process) | (provenance or {}),
        )


def describe_options(options: AleatoricOptions, process: Process) -> dict[str, str]:
    d, w = options.draws, options.window
    return {
        "method": "aleatoric",
        "samples": str(d.samples),
        "seed": str(d.seed),
        "antithetic": str(d.antithetic),
        "window": f"{w.start:g}-{w.end:g} every {w.every}",
        "center": options.center.value,
        "pooling": options.pooling.value,
        "process": process.value,
    }


def estimate_aleatoric(
    denoise: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    process: Process,
    options: AleatoricOptions | None = None,
    passes: int = 1,
    on_level: OnLevel | None = None,
) -> Uncertainty:
    """Score finished samples: re-noise them to each level of ``sigmas`` and measure as in a run. NFE: M per level.

    latents (B, C, ...) stand in for the sampler's own prediction at every level. With Center.PREDICTION the spread is
    taken around them (a reconstruction error), for ``noise`` around zero, the mean of the noise.
    on_level: told the scores at each level as soon as they are measured.
    An image that is not finite scores NaN. Raises ValueError for an empty list of levels, and what ``estimate_aleatoric_step`` refuses.
    """
    if len(sigmas) == 0:
        raise ValueError("sigmas is empty: give at least one noise level.")
    check_latents(latents)
    recorder = Recorder(options or AleatoricOptions(), process)
    for step, sigma in enumerate(sigmas):
        level = latents.new_full((latents.shape[0],), sigma, dtype=torch.float32)
        mean = add_noise(latents.float(), torch.zeros_like(latents, dtype=torch.float32), level, process)
        recorder.measure(denoise, mean, latents, level, step, passes)
        if on_level is not None:
            on_level(step, sigma, recorder.curves[recorder.options.quantity][-1])
    return recorder.result()
