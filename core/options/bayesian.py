"""Laplace posteriors, generative uncertainty, BayesDiff, dropout."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from .checks import MAX_SEED, check_choice, check_range, check_whole
from .sampling import DrawOptions, StepWindow
from .scores import Pooling


class Covariance(str, Enum):
    """What the posterior over the last layer's weights knows of their dependence."""

    DIAGONAL = "diagonal"  # every weight by itself
    KRONECKER = "kronecker"  # inputs among themselves times outputs among themselves


@dataclass(frozen=True)
class LaplaceOptions:
    """Last-layer Laplace posterior (Daxberger et al. 2021; Jazbec et al. 2025).

    prior_precision: of the Gaussian prior around the trained weights; inf = the trained weights themselves.
    noise_variance: of the Gaussian behind the squared error.
    draws: noisy copies of each training sample, each at a noise level of its own; N = samples * draws.

    The posterior narrows as sqrt(noise_variance / N). Measured on the demo model with N = 10,000 (benchmarks/bayesian.py), AUROC of
    generative uncertainty for bad images by noise variance: 0.1: 0.79, 1: 0.82, 3: 0.81, 10: 0.75, 30: 0.65. For another N, N / 10,000
    gives the same width as 1 here. The prior counts only once it nears the sums, which are about 10^5 to 10^6 a weight.
    """

    covariance: Covariance = Covariance.DIAGONAL
    prior_precision: float = 1.0
    noise_variance: float = 1.0
    draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("covariance", self.covariance, Covariance)
        if self.prior_precision != math.inf:
            check_range("prior_precision", self.prior_precision, 1e-12)
        check_range("noise_variance", self.noise_variance, 1e-12)
        check_whole("draws", self.draws, 1)
        check_whole("seed", self.seed, 0, MAX_SEED)


@dataclass(frozen=True)
class GenerativeOptions:
    """Generative uncertainty (Jazbec et al. 2025): M samplings with drawn weights beside the one with the trained weights.

    semantic_variance: sigma^2 of the likelihood around an image's features.
    member_steps: sampling steps of the M + 1 members; 0 = as many as the image itself.

    Measured as above, images of 50 steps: 5 members of 10 steps (60 evaluations) reach AUROC 0.82, 3 of 5 steps (20) 0.81,
    1 of 5 steps (10) 0.79; the first 0.74 on images that nothing was chosen on (benchmarks/filtering.py). semantic_variance
    hardly counts below the members' own spread: 1e-5 to 1e-3 alike, 0.1 a little worse.
    """

    members: int = 5
    semantic_variance: float = 1e-3
    member_steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("members", self.members, 1, 1024)
        check_range("semantic_variance", self.semantic_variance, 1e-12)
        check_whole("member_steps", self.member_steps, 0, 10000)
        check_whole("seed", self.seed, 0, MAX_SEED)


@dataclass(frozen=True)
class BayesDiffOptions:
    """BayesDiff (Kou et al. 2024): S draws of the sample at each uncertain step.

    every: uncertain on every k-th step only (the paper's skip variant: 5); 1 = on all.
    """

    draws: DrawOptions = field(default_factory=lambda: DrawOptions(samples=10))
    every: int = 1
    pooling: Pooling = Pooling.SUM

    def __post_init__(self) -> None:
        check_whole("every", self.every, 1)
        check_choice("pooling", self.pooling, Pooling)


@dataclass(frozen=True)
class DropoutOptions:
    """MC dropout (Gal & Ghahramani 2016): M passes at the same sample, each with units of its own dropped; one pass a network call."""

    draws: DrawOptions = field(default_factory=DrawOptions)
    window: StepWindow = field(default_factory=lambda: StepWindow(0.60, 0.75))
    pooling: Pooling = Pooling.MEAN

    def __post_init__(self) -> None:
        check_choice("pooling", self.pooling, Pooling)
