"""Uncertainty-guided sampling: move the noise prediction up the gradient of U (De Vita & Belagiannis 2024, Alg. 2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..denoiser import CountedDenoiser, Denoiser, Process, check_step, eps_from_x0, expand, finite_rows
from ..draws import evaluate, noise
from ..options import COARSE_STEP_SIZE, HALF_STEP_SIZE, Center, GuidanceMode, GuidanceOptions, GuidanceUnits
from ..pixelwise.aleatoric import Redraws, Spread, redraw, variance

MIN_ALPHA = 1e-3  # below it the sample holds nothing of x0 to guide, and sigma / alpha runs away
NO_GRADIENT = "This model gives no gradient; use the guidance mode 'forward', which needs none."
PARALLEL = 1e-8  # share of a squared norm that counts as rounding, when all but this much of a direction has been taken away
VANISHING = 1e-6  # share of the squared norm of eps below which a direction is rounding, not structure


@dataclass(frozen=True)
class GuidedStep:
    """One guided step: the prediction to go on with, what was added to eps, the spread it was taken from, NFE per image."""

    x0: Tensor
    correction: Tensor
    mask: Tensor
    spread: Spread | None
    nfe: float


def guide_step(
    denoise: Denoiser,
    x: Tensor,
    x0: Tensor,
    sigma: Tensor,
    process: Process,
    options: GuidanceOptions,
    step: int,
    conditional: Tensor | None = None,
) -> GuidedStep:
    """eps' = eps + c, in terms of the prediction x0' = x0 - (sigma / alpha) c, with c the masked, scaled gradient of sum(U).

    x: the sampler's sample; x0: the prediction it would use (under CFG the mix); conditional: the prediction that ``denoise``
    makes itself at x (under CFG the conditional one), x0 when left out. All (B, C, ...); sigma (B,) or scalar, > 0.
    Costs M evaluations per image in modes ``autograd`` (and a backward pass) and ``posterior``, 2 M in ``forward``
    and where ``autograd`` recomputes under checkpointing. Strength 0 returns x0 itself, at no cost; so does a level
    without x0 (alpha = 0, the first step of flow matching). Returns x0 in its own dtype.
    An image whose correction is not finite is left as it is; its spread is NaN.
    Raises ValueError for mismatched shapes, an empty batch, sigma <= 0 or not finite.
    Source: De Vita & Belagiannis 2024, Alg. 2 and eq. 10.
    """
    if options.strength == 0:
        return unguided(x0)
    sigma = check_step(x, x0, sigma)
    conditional = x0 if conditional is None else conditional
    if conditional.shape != x.shape:
        raise ValueError(f"The conditional prediction must have the shape of x, {tuple(x.shape)}, got {tuple(conditional.shape)}.")
    alpha = process.alpha(expand(sigma, x))
    movable = alpha >= MIN_ALPHA
    if not bool(movable.any()):
        return unguided(x0)
    counted = CountedDenoiser(denoise)
    z = noise(options.draws, step, conditional)
    direction, redraws = find_direction(counted, x.float(), conditional, sigma, process, z, options)
    denoised, noise_spread = variance(redraws.x0, conditional, Center.MEAN), variance(redraws.eps, conditional, Center.MEAN)
    spread = Spread(denoised, noise_spread, redraws.posterior(sigma, process, options.draws.antithetic))
    mask = high_uncertainty(spread.noise, options, sigma)
    eps = eps_from_x0(x.float(), x0.float(), sigma, process)
    correction = scale(mask * direction, mask * eps, options)
    # an image that fails under the redraws alone is left as the sampler has it
    sound = movable & finite_rows(correction).view(-1, *[1] * (x.ndim - 1))
    correction = torch.where(sound, correction, 0.0)
    guided = x0.float() - expand(sigma, x) / alpha.clamp_min(MIN_ALPHA) * correction
    return GuidedStep(guided.to(x0.dtype), correction, mask, spread, counted.rows / x.shape[0])


def half_safe(options: GuidanceOptions, dtype: torch.dtype) -> GuidanceOptions:
    """For a network that computes in ``dtype``: a small finite difference drowns in coarse rounding, so take a larger step."""
    if dtype.itemsize > 2:
        return options
    least = HALF_STEP_SIZE if torch.finfo(dtype).eps <= torch.finfo(torch.float16).eps else COARSE_STEP_SIZE
    return replace(options, step_size=max(options.step_size, least))


def unguided(x0: Tensor) -> GuidedStep:
    zero = torch.zeros_like(x0, dtype=torch.float32)
    return GuidedStep(x0, zero, zero, None, 0.0)


def find_direction(
    denoise: Denoiser, x: Tensor, x0: Tensor, sigma: Tensor, process: Process, z: Tensor, options: GuidanceOptions
) -> tuple[Tensor, Redraws]:
    """The direction to move eps in, (B, C, ...) float32, by the chosen mode, and the redraws it was made from."""
    if options.mode is GuidanceMode.AUTOGRAD:
        return autograd_gradient(denoise, x0, sigma, process, z, options)
    redraws = redraw(denoise, x0, sigma, process, z, options.draws.micro_batch)
    if options.mode is GuidanceMode.FORWARD:
        direction = forward_gradient(denoise, redraws, sigma, process, x0.dtype, options)
        return (without_mean(direction) if options.keep_mean else direction), redraws
    return posterior_shift(x, x0, redraws, sigma, process), redraws


def forward_gradient(
    denoise: Denoiser, redraws: Redraws, sigma: Tensor, process: Process, dtype: torch.dtype, options: GuidanceOptions
) -> Tensor:
    """g = -(2 sigma / (M - 1)) sum_i J_i (eps_i - mean eps), the exact gradient where the Jacobian J_i of eps is symmetric.

    J_i v is a directional derivative, (eps(x_i + h s u) - eps(x_i)) |v| / (h s) with u = v / |v| (rms over the image) and
    s = sqrt(alpha^2 + sigma^2), the scale of the sample, so that h means the same in every parametrisation.
    redraws: (M, B, ...); returns (B, ...) float32. M evaluations per image.
    """
    s = expand(sigma, redraws.x[0])
    v = redraws.eps - redraws.eps.mean(dim=0)
    rms = v.flatten(2).square().mean(dim=2).sqrt().clamp_min(1e-12).view(*v.shape[:2], *[1] * (v.ndim - 2))
    h = options.step_size * (process.alpha(s).square() + s.square()).sqrt()
    shifted = redraws.x + h * v / rms
    x0 = evaluate(denoise, shifted, sigma, dtype, options.draws.micro_batch)
    eps = (shifted - process.alpha(s) * x0) / s
    derivative = (eps - redraws.eps) * rms / h
    return -2 * s * derivative.sum(dim=0) / (v.shape[0] - 1)


def autograd_gradient(
    denoise: Denoiser, x0: Tensor, sigma: Tensor, process: Process, z: Tensor, options: GuidanceOptions
) -> tuple[Tensor, Redraws]:
    """g = d(sum of U) / d eps = -(sigma / alpha) d(sum of U) / d x0, through the M redraws with x and z_i fixed.

    ``denoise`` must be differentiable. With options.checkpoint each call is recomputed in the backward pass, so that
    memory does not grow with M. Raises RuntimeError, naming the way out, when no gradient arrives.
    """
    wrapped = (lambda x, sigma: checkpoint(denoise, x, sigma, use_reentrant=False)) if options.checkpoint else denoise
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x0.detach().clone().float().requires_grad_()
        sigma_leaf = sigma.clone()
        # redraw feeds the model in the prediction's dtype; the leaf itself stays float32
        cast = (lambda x, sigma: wrapped(x.to(x0.dtype), sigma)) if x0.dtype != torch.float32 else wrapped
        try:
            redraws = redraw(cast, leaf, sigma_leaf, process, z.clone(), options.draws.micro_batch)
        except RuntimeError as error:
            if "Inference tensors" not in str(error):
                raise
            raise RuntimeError(NO_GRADIENT) from error  # weights that were loaded under inference mode
        if not redraws.x0.requires_grad:  # eps always does, through x
            raise RuntimeError(NO_GRADIENT)
        (gradient,) = torch.autograd.grad(redraws.eps.var(dim=0).sum(), leaf)
        s = expand(sigma_leaf, leaf)
        # d x0 / d eps = -sigma / alpha, and alpha cancels against d x_i / d x0 = alpha
        g = -s / process.alpha(s).clamp_min(MIN_ALPHA) * gradient
    return g.detach(), Redraws(redraws.x.detach(), redraws.x0.detach(), redraws.eps.detach())


def posterior_shift(x: Tensor, x0: Tensor, redraws: Redraws, sigma: Tensor, process: Process) -> Tensor:
    """Shift of eps that replaces x0 by its precision-weighted mix with the M redrawn predictions.

    x0_post = (p x0 + (M / V) mean_i x0_i) / (p + M / V), prior precision p = (alpha / sigma)^2, V = Var_i(x0_i);
    returned as eps_post - eps = -(alpha / sigma) (x0_post - x0). Mixed in x0, where all M + 1 predict the same image:
    the eps_i of the published pipelines predict M different noises. After: De Vita & Belagiannis 2024, published code.
    """
    ratio = process.alpha(expand(sigma, x)) / expand(sigma, x)
    prior = ratio.square()
    likelihood = redraws.x0.shape[0] / redraws.x0.var(dim=0).clamp_min(1e-12)
    weight = likelihood / (prior + likelihood)
    return -ratio * weight * (redraws.x0.mean(dim=0) - x0.float())


def high_uncertainty(u: Tensor, options: GuidanceOptions, sigma: Tensor) -> Tensor:
    """1 where U exceeds the calibrated threshold nearest in sigma, else the percentile of its own image; percentile 0: everywhere.

    u (B, C, ...), sigma (B,) -> (B, C, ...) float32 of zeros and ones. Source: De Vita & Belagiannis 2024, Alg. 2 line 4.
    """
    if options.thresholds:
        levels, thresholds = torch.tensor(options.thresholds, device=u.device).T
        threshold = thresholds[(sigma[:, None] - levels).abs().argmin(dim=1)]
    elif options.percentile == 0:
        return torch.ones_like(u)
    else:
        flat = u.flatten(1)
        # what lies above this value lies above the interpolated percentile too; torch.quantile refuses large inputs
        rank = int(options.percentile / 100 * (flat.shape[1] - 1)) + 1
        threshold = flat.kthvalue(rank, dim=1).values
    return (u > threshold.view(-1, *[1] * (u.ndim - 1))).float()


def without_mean(direction: Tensor) -> Tensor:
    """direction - its mean over space: per channel for (B, C, H, W) and (B, C, T, H, W), over all for the tokens of (B, L, D)."""
    space = tuple(range(2, direction.ndim)) if direction.ndim > 3 else tuple(range(1, direction.ndim))
    return direction - direction.mean(dim=space, keepdim=True)


def scale(direction: Tensor, eps: Tensor, options: GuidanceOptions) -> Tensor:
    """The correction of eps: raw lambda * direction, or ``strength`` times the norm of eps along it, per image.

    direction, eps: (B, C, ...), both already masked. orthogonal: without the part along eps, which only rescales eps.
    """
    # else a direction all along eps, or one that vanishes, would leave rounding noise, blown up to full strength
    rounding = torch.maximum(PARALLEL * dot(direction, direction), VANISHING * dot(eps, eps))
    if options.orthogonal:
        direction = direction - eps * (dot(direction, eps) / dot(eps, eps).clamp_min(1e-20))
    if options.units is GuidanceUnits.RAW:
        return options.strength * direction
    ratio = (dot(eps, eps) / torch.maximum(dot(direction, direction), rounding).clamp_min(1e-20)).sqrt()
    return options.strength * ratio * direction


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product per image, (B, 1, ..., 1)."""
    return (a * b).flatten(1).sum(dim=1).view(-1, *[1] * (a.ndim - 1))
