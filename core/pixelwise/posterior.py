"""Posterior variance: how far the clean image may lie from the prediction, in its own units, from the draws of Alg. 1."""

from __future__ import annotations

from torch import Tensor

from ..denoiser import Process, expand


def posterior_variance(z: Tensor, x0_i: Tensor, sigma: Tensor, process: Process, antithetic: bool = False) -> Tensor:
    """C = (sigma / alpha) Cov_i(z_i, x0_i) per pixel, of M draws x0_i = D(x_i) at x_i = alpha x0 + sigma z_i, where D = denoise.

    z: (M, 1 or B, C, ...) standard normal; x0_i: (M, B, C, ...); sigma: (B,) > 0 with alpha(sigma) > 0. Returns (B, C, ...).
    antithetic: the draws come in pairs (z, -z), whose mean is 0 by construction: divisor M instead of M - 1.

    What it is. By Stein's lemma E[z D(alpha x0 + sigma z)^T] = sigma E[dD/dx], the Jacobian at x_i. Where D is the exact posterior
    mean, alpha/sigma^2 Cov(x0 | x) is that Jacobian (Tweedie's second-order formula), so that, for every M,

        E[C] = (sigma^2 / alpha) E[dD/dx (x_i)]_kk = E_z[ Var(x0_k | x_i) ],    x_i ~ N(alpha x0, sigma^2)

    the posterior variance AVERAGED OVER THE REDRAWN SAMPLES x_i, not that at the sampler's own sample x. The two are equal
    - where the posterior covariance does not depend on x: for a Gaussian x0, and for one near enough to it over a range of sigma;
    - on average, where x0 is a clean sample of the data and not a prediction: then x_i is as likely as x.
    A prediction is smoother than data: x_i then is not quite a sample of the process, and C says what the model makes of that.
    A model that is no exact posterior mean has the diagonal of its own Jacobian here, which may be negative.

    With U and V of the same draws (``aleatoric``): eps_i = z_i + (alpha / sigma)(x0 - x0_i), and so, draw by draw,

        C = (V + (sigma / alpha)^2 (Var_i(z_i) - U)) / 2,     in expectation     (V + (sigma / alpha)^2 (1 - U)) / 2

    Noise: the standard error of one pixel is about (sigma / alpha) sqrt(V / (M - 1)), often more than C itself; means over an image
    or over steps are what few draws can tell. Sources: Stein 1981; Efron 2011 (Tweedie); cf. arXiv 2605.00941.
    """
    s = expand(sigma, x0_i[0])
    divisor = len(z) if antithetic else len(z) - 1
    joint = ((z - z.mean(dim=0)) * (x0_i - x0_i.mean(dim=0))).sum(dim=0) / divisor
    return s / process.alpha(s) * joint
