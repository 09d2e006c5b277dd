"""Laplace posteriors, generative uncertainty, BayesDiff, dropout."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from .bounds import bounded, check_fields
from .limits import SEED, STEPS
from .sampling import DEFAULT_WINDOW, DrawOptions, StepWindow
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

    The posterior narrows as sqrt(noise_variance / N). Measured on the demo model with N = 10,000 (benchmarks/quality/bayesian.py), AUROC of
    generative uncertainty for bad images by noise variance: 0.1: 0.79, 1: 0.82, 3: 0.81, 10: 0.75, 30: 0.65. For another N, N / 10,000
    gives the same width as 1 here. The prior counts only once it nears the sums, which are about 10^5 to 10^6 a weight.
    """

    covariance: Covariance = Covariance.DIAGONAL
    prior_precision: float = bounded(1.0, 1e-12, 1e30, 1e-3, infinite=True)
    noise_variance: float = bounded(1.0, 1e-12, 1e30, 1e-3)
    draws: int = bounded(1, 1, 10_000)
    seed: int = SEED.field()

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class GenerativeOptions:
    """Generative uncertainty (Jazbec et al. 2025): M samplings with drawn weights beside the one with the trained weights.

    semantic_variance: sigma^2 of the likelihood around an image's features.
    member_steps: sampling steps of the M + 1 members; 0 = as many as the image itself.

    Measured as above, images of 50 steps: 5 members of 10 steps (60 evaluations) reach AUROC 0.82, 3 of 5 steps (20) 0.81,
    1 of 5 steps (10) 0.79; the first 0.74 on images that nothing was chosen on (benchmarks/quality/filtering.py). semantic_variance
    hardly counts below the members' own spread: 1e-5 to 1e-3 alike, 0.1 a little worse.
    """

    members: int = bounded(5, 1, 1024)
    semantic_variance: float = bounded(1e-3, 1e-12, 1e6)
    member_steps: int = bounded(0, 0, STEPS.high)
    seed: int = SEED.field()

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class BayesDiffOptions:
    """BayesDiff (Kou et al. 2024): S draws of the sample at each uncertain step.

    every: uncertain on every k-th step only (the paper's skip variant: 5); 1 = on all.
    """

    draws: DrawOptions = field(default_factory=lambda: DrawOptions(samples=10))
    every: int = bounded(1, 1, 1000)
    pooling: Pooling = Pooling.SUM

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class DropoutOptions:
    """MC dropout (Gal & Ghahramani 2016): M passes at the same sample, each with units of its own dropped; one pass a network call."""

    draws: DrawOptions = field(default_factory=DrawOptions)
    window: StepWindow = DEFAULT_WINDOW
    pooling: Pooling = Pooling.MEAN

    def __post_init__(self) -> None:
        check_fields(self)
