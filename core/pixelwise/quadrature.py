"""Noise levels and their weights, for integrals over the log signal-to-noise ratio: integral f d logSNR ~ sum_s w_s f(sigma_s)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from ..denoiser import Process
from ..options import InformationOptions
from ..schedule import PercentToSigma

LOG_SNR_LIMIT = 12.0  # beyond, what is left of the signal, or of the noise, weighs nothing; an open end is cut here


@dataclass(frozen=True)
class Quadrature:
    """S noise levels, from noisy to clean, and the width in log SNR that each stands for.

    Raises ValueError unless there is one weight for each level, sigmas are positive and never rise, and weights are not negative.
    """

    sigmas: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.sigmas) == 0:
            raise ValueError("sigmas is empty: give at least one noise level.")
        if len(self.sigmas) != len(self.weights):
            raise ValueError(f"Each noise level needs one weight, got {len(self.sigmas)} sigmas and {len(self.weights)} weights.")
        if not all(math.isfinite(s) and s > 0 for s in self.sigmas):
            raise ValueError(f"sigmas must be above 0 and finite, got {list(self.sigmas)}; move the window inwards.")
        if any(later > earlier for earlier, later in pairwise(self.sigmas)):
            raise ValueError(f"sigmas must run from noisy to clean, got {list(self.sigmas)}; sort them.")
        if not all(math.isfinite(w) and w >= 0 for w in self.weights):
            raise ValueError(f"weights must be finite and not negative, got {list(self.weights)}.")


def log_snr(sigma: float, process: Process) -> float:
    """log(alpha^2 / sigma^2); -inf where no signal is left, inf where no noise is."""
    alpha = float(process.alpha(torch.tensor(sigma, dtype=torch.float64)))
    if alpha == 0 or sigma == 0:
        return -math.inf if alpha == 0 else math.inf
    return 2 * (math.log(alpha) - math.log(sigma))


def sigma_at(level: float, process: Process) -> float:
    """Inverse of ``log_snr``. With r = exp(-logSNR / 2): VE sigma = r, VP sigma = r / sqrt(1 + r^2), flow sigma = r / (1 + r)."""
    ratio = math.exp(-level / 2)
    if process is Process.VE:
        return ratio
    return ratio / math.hypot(1, ratio) if process is Process.VP else ratio / (1 + ratio)


def trapezoid(sigmas: Sequence[float], process: Process) -> Quadrature:
    """Weights for given levels by the trapezoid rule in log SNR: w_s = (logSNR_{s+1} - logSNR_{s-1}) / 2, half cells at the ends.

    For sigmas that a host prescribes. A single level stands for one unit of log SNR.
    Raises ValueError where no signal is left (alpha = 0), and what ``Quadrature`` refuses.
    """
    points = [log_snr(s, process) for s in sigmas]
    if not all(math.isfinite(p) for p in points):
        raise ValueError(f"sigmas must leave both signal and noise, got {list(sigmas)}; move the window inwards.")
    if len(points) < 2:
        return Quadrature(tuple(sigmas), (1.0,) * len(points))
    edges = [points[0], *((a + b) / 2 for a, b in pairwise(points)), points[-1]]
    return Quadrature(tuple(sigmas), tuple(b - a for a, b in pairwise(edges)))


def importance(start: float, end: float, count: int, process: Process, location: float = 0.0, scale: float = 1.0) -> Quadrature:
    """``count`` levels between log SNR ``start`` and ``end``, dense where the integrand is large: logistic importance, stratified.

    q(logSNR) = logistic(location, scale), cut to the window. Level s is the middle of the s-th of ``count`` cells of equal
    probability, its weight 1 / (count q(logSNR_s)). Without jitter: the same levels for every image, seed and condition.
    scale = inf: uniform in log SNR. A window of no width stands for one unit of log SNR, at its place.
    Source: Kong et al. 2023 (arXiv 2302.03792) sample log SNR from a truncated logistic; the strata in place of random levels are ours.
    """
    start, end = (min(max(p, -LOG_SNR_LIMIT), LOG_SNR_LIMIT) for p in (start, end))
    if count < 1 or start > end:
        raise ValueError(f"levels must be at least 1 and the window must run from noisy to clean, got {count!r} from {start:g} to {end:g}.")
    if start == end:
        return Quadrature((sigma_at(start, process),) * count, (1 / count,) * count)
    middles = [(i + 0.5) / count for i in range(count)]
    if math.isinf(scale):
        points, widths = [start + u * (end - start) for u in middles], [(end - start) / count] * count
    else:
        low, high = (1 / (1 + math.exp(-(p - location) / scale)) for p in (start, end))
        mass = [low + u * (high - low) for u in middles]
        points = [location + scale * math.log(p / (1 - p)) for p in mass]
        widths = [(high - low) * scale / (count * p * (1 - p)) for p in mass]  # q = p (1 - p) / scale / (high - low)
    return Quadrature(tuple(sigma_at(p, process) for p in points), tuple(widths))


def window_quadrature(options: InformationOptions, percent_to_sigma: PercentToSigma, process: Process) -> Quadrature:
    """The levels of ``options`` on one model's schedule. percent_to_sigma: fraction passed (0 = noise) -> sigma.

    An end of the window where no signal or no noise is left is cut at |log SNR| = 12.
    """
    start, end = (log_snr(percent_to_sigma(p), process) for p in (options.window.start, options.window.end))
    return importance(start, end, options.levels, process, options.location, options.scale)
