"""Every option of the pack: frozen, validated when made; the only source of defaults, ranges and combo values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from numbers import Integral, Real


class Quantity(str, Enum):
    """Which spread of the re-noised predictions is the score."""

    DENOISED = "denoised"  # V = Var(x0_i): high = unsure
    NOISE = "noise"  # U = Var(eps_i), the paper's: low = unsure


class Direction(str, Enum):
    """Which end of a score is bad."""

    HIGH_IS_BAD = "high_is_bad"
    LOW_IS_BAD = "low_is_bad"


DIRECTION_OF = {Quantity.DENOISED: Direction.HIGH_IS_BAD, Quantity.NOISE: Direction.LOW_IS_BAD}


class Center(str, Enum):
    """What the spread of the draws is measured around."""

    MEAN = "mean"  # the draws' own mean, divisor M - 1 (De Vita & Belagiannis 2024, eq. 8)
    PREDICTION = "prediction"  # the sampler's own prediction, divisor M (the paper's published code)


class Pooling(str, Enum):
    """How a map becomes one number per image."""

    SUM = "sum"  # the paper's: sum over pixels
    MEAN = "mean"  # the same per pixel, comparable across sizes
    UPPER_TAIL = "upper_tail"  # mean of the highest 5 % of pixels


class GuidanceMode(str, Enum):
    """How the correction is computed."""

    FORWARD = "forward"  # directional derivative, M more evaluations, no graph
    AUTOGRAD = "autograd"  # exact gradient, one backward pass through M evaluations
    POSTERIOR = "posterior"  # precision-weighted mix of the M predictions, no derivative


class GuidanceUnits(str, Enum):
    """What strength means."""

    RELATIVE = "relative"  # norm of the correction over norm of eps, on the masked pixels
    RAW = "raw"  # the paper's lambda


class GuidancePreset(str, Enum):
    """Where the settings of guidance come from."""

    MEASURED = "measured"  # as given; the defaults are what the benchmark found best
    PAPER = "paper"  # GuidanceOptions.paper, whatever is given


class FilterRule(str, Enum):
    """How Sample Filter decides."""

    DROP_WORST_PERCENT = "drop_worst_percent"
    KEEP_BEST_COUNT = "keep_best_count"
    THRESHOLD = "threshold"
    CALIBRATED = "calibrated"


class Colormap(str, Enum):
    """Colours of a heatmap."""

    VIRIDIS = "viridis"
    MAGMA = "magma"
    INFERNO = "inferno"
    TURBO = "turbo"
    GRAY = "gray"


class HeatmapScale(str, Enum):
    """What the two ends of the colours stand for."""

    IMAGE = "image"  # percentiles of each image: shows where, not how much
    BATCH = "batch"  # percentiles of the whole batch: images can be compared
    FIXED = "fixed"  # given values: batches can be compared


HALF_STEP_SIZE = 3e-2  # of the directional derivative, where the network computes in float16
COARSE_STEP_SIZE = 1e-1  # where it computes in bfloat16 or less
MAX_SEED = 0xFFFFFFFFFFFFFFFF
MIN_WEIGHT = 1e-12  # of an ensemble's member; one that should not count is left out instead


def check_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raises ValueError naming the option, the value seen and the range, unless low <= value <= high and value is finite."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high or abs(value) == math.inf:
        bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} must be {bounds}, got {value!r}.")


def check_whole(name: str, value: int, low: int, high: float = math.inf) -> None:
    """``check_range`` for a whole number."""
    check_range(name, value, low, high)
    if not isinstance(value, Integral):
        raise ValueError(f"{name} must be a whole number, got {value!r}.")


def check_choice(name: str, value: Enum, choices: type[Enum]) -> None:
    """Raises ValueError unless value is a member: the algorithms compare by identity, which a bare string of the same text would fail."""
    if not isinstance(value, choices):
        raise ValueError(f"{name} must be a {choices.__name__} ({', '.join(c.value for c in choices)}), got {value!r}.")


@dataclass(frozen=True)
class StepWindow:
    """The part of sampling in which something happens.

    start, end: fraction of the model's noise schedule that has passed, 0 = pure noise, 1 = clean; both ends included.
    every: act on every k-th active step only.
    """

    start: float = 0.0
    end: float = 1.0
    every: int = 1

    def __post_init__(self) -> None:
        check_range("start_percent", self.start, 0.0, 1.0)
        check_range("end_percent", self.end, 0.0, 1.0)
        check_whole("every", self.every, 1)
        if self.start > self.end:
            raise ValueError(f"start_percent must not exceed end_percent, got {self.start!r} > {self.end!r}.")


@dataclass(frozen=True)
class DrawOptions:
    """M noise draws per step: count, seed, antithetic pairs (z, -z), and how many draws share one network call."""

    samples: int = 5
    seed: int = 0
    antithetic: bool = False
    micro_batch: int = 1

    def __post_init__(self) -> None:
        check_whole("samples", self.samples, 2, 1024)
        check_whole("seed", self.seed, 0, MAX_SEED)
        check_whole("micro_batch", self.micro_batch, 1)


@dataclass(frozen=True)
class AleatoricOptions:
    """Pixel-wise aleatoric uncertainty (De Vita & Belagiannis 2024, Alg. 1)."""

    draws: DrawOptions = field(default_factory=DrawOptions)
    window: StepWindow = field(default_factory=lambda: StepWindow(0.60, 0.75))
    quantity: Quantity = Quantity.DENOISED
    center: Center = Center.MEAN
    pooling: Pooling = Pooling.MEAN

    def __post_init__(self) -> None:
        check_choice("quantity", self.quantity, Quantity)
        check_choice("center", self.center, Center)
        check_choice("pooling", self.pooling, Pooling)


@dataclass(frozen=True)
class InformationOptions:
    """Prompt information (Kong et al. 2023): M draws at each of ``levels`` noise levels in the window, 2 evaluations a draw.

    location, scale: of the logistic density in log SNR by which levels are placed in the window; scale = inf: evenly.
    Low = the image does not carry its condition. Two pairs of draws a level are the least that leaves a standard error.
    """

    draws: DrawOptions = field(default_factory=lambda: DrawOptions(samples=4, antithetic=True))
    window: StepWindow = field(default_factory=lambda: StepWindow(0.40, 0.60))
    levels: int = 4
    location: float = 0.0
    scale: float = math.inf

    def __post_init__(self) -> None:
        check_whole("levels", self.levels, 1, 1000)
        check_range("location", self.location, -100.0, 100.0)
        if self.scale != math.inf:
            check_range("scale", self.scale, 0.1)
        if self.draws.antithetic and self.draws.samples % 2:
            raise ValueError(f"samples must be even for antithetic draws, which come in pairs, got {self.draws.samples!r}.")


@dataclass(frozen=True)
class GuidanceOptions:
    """Uncertainty-guided sampling (De Vita & Belagiannis 2024, Alg. 2).

    strength: 0 = off. Units RELATIVE: |correction| / |eps| on the masked pixels; RAW: the paper's lambda.
    percentile: only pixels whose U exceeds this percentile of their own image move; 0 = every pixel.
    thresholds: calibrated per-step thresholds instead of the percentile, as (sigma, threshold) pairs.
    orthogonal: keep only the part of the correction orthogonal to eps (the rest merely rescales eps).
    step_size: h of the directional derivative, as rms per pixel relative to the scale of the sample, sqrt(alpha^2 + sigma^2).
    """

    strength: float = 0.1
    percentile: float = 0.0
    draws: DrawOptions = field(default_factory=lambda: DrawOptions(samples=3))
    window: StepWindow = field(default_factory=StepWindow)
    mode: GuidanceMode = GuidanceMode.FORWARD
    units: GuidanceUnits = GuidanceUnits.RELATIVE
    thresholds: tuple[tuple[float, float], ...] = ()
    orthogonal: bool = False
    step_size: float = 1e-2
    checkpoint: bool = False

    def __post_init__(self) -> None:
        check_range("strength", self.strength, -1e6, 1e6)
        check_range("percentile", self.percentile, 0.0, 100.0)
        check_range("step_size", self.step_size, 1e-6, 1.0)
        check_choice("mode", self.mode, GuidanceMode)
        check_choice("units", self.units, GuidanceUnits)
        for pair in self.thresholds:
            if len(pair) != 2 or not all(math.isfinite(value) for value in pair):
                raise ValueError(f"thresholds must be pairs of finite numbers (sigma, threshold), got {pair!r}.")

    @classmethod
    def paper(cls, seed: int = 0) -> GuidanceOptions:
        """The paper's setting: top 5 % of pixels, raw lambda = 1, M = 5, every step, exact gradient."""
        draws = DrawOptions(samples=5, seed=seed)
        return cls(strength=1.0, percentile=95.0, draws=draws, mode=GuidanceMode.AUTOGRAD, units=GuidanceUnits.RAW)


@dataclass(frozen=True)
class HeatmapOptions:
    """How a map is shown.

    opacity: 0 = the image alone, 1 = the heatmap alone.
    low, high: what the ends of the colours stand for, as percentiles, or as values of the map (high = bad) with scale FIXED.
    mask_percentile: the mask holds the pixels that are worse than this percentile of their own image; 0 = every pixel.
    """

    colormap: Colormap = Colormap.INFERNO
    opacity: float = 0.6
    scale: HeatmapScale = HeatmapScale.IMAGE
    low: float = 1.0
    high: float = 99.0
    mask_percentile: float = 90.0

    def __post_init__(self) -> None:
        check_choice("colormap", self.colormap, Colormap)
        check_choice("scale", self.scale, HeatmapScale)
        bounds = (-math.inf, math.inf) if self.scale is HeatmapScale.FIXED else (0.0, 100.0)
        check_range("opacity", self.opacity, 0.0, 1.0)
        check_range("low", self.low, *bounds)
        check_range("high", self.high, *bounds)
        check_range("mask_percentile", self.mask_percentile, 0.0, 100.0)
        if self.low >= self.high:
            raise ValueError(f"low must be smaller than high, got {self.low!r} and {self.high!r}.")


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


class Distance(str, Enum):
    """How far two members of an ensemble are apart."""

    W2 = "w2"  # squared 2-Wasserstein: between points too, |x_i - x_j|^2
    KL = "kl"  # Kullback-Leibler, of Gaussians only; not symmetric
    BHATTACHARYYA = "bhattacharyya"  # of Gaussians only


class Moment(str, Enum):
    """Which of the steps after the branch is the score and the map."""

    FIRST = "first"  # where the members have just parted: the paper's published score
    LAST = "last"  # what came of it: how far the finished samples are apart
    MEAN = "mean"  # over all of them


@dataclass(frozen=True)
class PaideOptions:
    """Pairwise-distance estimate of the information between an ensemble's output and its members (Berry et al. 2024).

    bandwidth: what D is divided by; 1 = the published estimate, which in images reaches log K at once.
        0 = the number of dimensions that D is summed over: an image's D is then its mean over pixels, a pixel's D is left as it is.
        It changes the value of the estimate and not the order of the distances.
    """

    distance: Distance = Distance.W2
    bandwidth: float = 0.0

    def __post_init__(self) -> None:
        check_choice("distance", self.distance, Distance)
        check_range("bandwidth", self.bandwidth, 0.0)


@dataclass(frozen=True)
class EnsembleOptions:
    """Epistemic uncertainty of an ensemble whose members share one trajectory up to a branch (DECU, Berry et al. 2024).

    branch: fraction of the noise schedule that one member runs for all; 0 = each on its own from the start.
    weights: one for each member; none = equal.
    micro_batch: members that are advanced in one call; 0 = all. Members with weights of their own need 1.
    seed: picks the member that runs the shared part.
    """

    branch: float = 0.5
    paide: PaideOptions = field(default_factory=PaideOptions)
    moment: Moment = Moment.LAST
    weights: tuple[float, ...] = ()
    micro_batch: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("branch_percent", self.branch, 0.0, 1.0)
        check_choice("moment", self.moment, Moment)
        check_whole("micro_batch", self.micro_batch, 0)
        check_whole("seed", self.seed, 0, MAX_SEED)
        for weight in self.weights:
            check_range("Each weight", weight, MIN_WEIGHT)
