"""What a score is called, which way it points, and how it is pooled."""

from __future__ import annotations

from enum import Enum


class Quantity(str, Enum):
    """Which spread of the re-noised predictions is the score."""

    DENOISED = "denoised"  # V = Var(x0_i): high = unsure
    NOISE = "noise"  # U = Var(eps_i), the paper's: low = unsure
    POSTERIOR = "posterior"  # C = Cov(x_i, x0_i) / alpha, the squared error to expect, in the image's units: high = unsure


class FreeScore(str, Enum):
    """What the steps of a sampling tell by themselves, at no model call."""

    TRAJECTORY = "trajectory"  # how far the sampler's own predictions of the image move
    CONDITION_GAP = "condition_gap"  # how far the predictions with and without the condition are apart


class GapWeight(str, Enum):
    """In which units the condition gap adds up its steps."""

    NOISE = "noise"  # of the predicted noise, as published: that of the image times the signal-to-noise ratio
    IMAGE = "image"  # of the predicted image


class ImageScore(str, Enum):
    """What a finished image is scored by: a Quantity, or prompt information."""

    INFORMATION = "information"  # i(x; c), whether the image carries its condition: low = bad
    DENOISED = "denoised"
    NOISE = "noise"
    POSTERIOR = "posterior"


class PipelineScore(str, Enum):
    """What an image is scored by in a host that both draws and keeps it: an ImageScore, a FreeScore, or what an ensemble tells."""

    INFORMATION = "information"
    DENOISED = "denoised"
    NOISE = "noise"
    POSTERIOR = "posterior"
    TRAJECTORY = "trajectory"
    CONDITION_GAP = "condition_gap"
    ENSEMBLE = "ensemble"  # how far LoRAs part: high = bad


class SamplingScore(str, Enum):
    """What drawn images are scored by: high = bad but for ``information``, ``noise`` and ``condition_gap``."""

    INFORMATION = "information"  # whether the finished image carries what was asked for
    GENERATIVE = "generative"  # whether the image keeps its meaning under other last layers
    BAYESDIFF = "bayesdiff"  # the last layer's variance, carried along the sampling
    MC_DROPOUT = "mc-dropout"  # spread of the predictions with units dropped
    DENOISED = "denoised"  # a Quantity
    NOISE = "noise"  # a Quantity
    TRAJECTORY = "trajectory"  # a FreeScore
    CONDITION_GAP = "condition-gap"  # a FreeScore
    POSTERIOR = "posterior"  # a Quantity


class Direction(str, Enum):
    """Which end of a score is bad."""

    HIGH_IS_BAD = "high_is_bad"
    LOW_IS_BAD = "low_is_bad"


DIRECTION_OF = {
    Quantity.DENOISED: Direction.HIGH_IS_BAD,
    Quantity.NOISE: Direction.LOW_IS_BAD,
    Quantity.POSTERIOR: Direction.HIGH_IS_BAD,
}
DIRECTION_OF_FREE = {FreeScore.TRAJECTORY: Direction.HIGH_IS_BAD, FreeScore.CONDITION_GAP: Direction.LOW_IS_BAD}


class Center(str, Enum):
    """What the spread of the draws is measured around."""

    MEAN = "mean"  # the draws' own mean, divisor M - 1 (De Vita & Belagiannis 2024, eq. 8)
    PREDICTION = "prediction"  # the sampler's own prediction, divisor M (the paper's published code)


class Pooling(str, Enum):
    """How a map becomes one number per image."""

    SUM = "sum"  # the paper's: sum over pixels
    MEAN = "mean"  # the same per pixel, comparable across sizes
    UPPER_TAIL = "upper_tail"  # mean of the highest 5 % of pixels
