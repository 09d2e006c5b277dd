"""Every option of the pack: frozen, validated when made; the only source of defaults, ranges and combo values."""

from .bayesian import BayesDiffOptions, Covariance, DropoutOptions, GenerativeOptions, LaplaceOptions
from .checks import MAX_SEED, check_choice, check_range, check_whole, choose
from .ensemble import (
    LEARNING_RATES,
    MIN_WEIGHT,
    Bootstrap,
    BootstrapOptions,
    Distance,
    EnsembleKind,
    EnsembleOptions,
    EnsembleTrainingOptions,
    Moment,
    PaideOptions,
)
from .guidance import COARSE_STEP_SIZE, HALF_STEP_SIZE, GuidanceMode, GuidanceOptions, GuidancePreset, GuidanceUnits
from .sampling import AleatoricOptions, DrawOptions, InformationOptions, StepWindow
from .scores import DIRECTION_OF, Center, Direction, ImageScore, Pooling, Quantity, SamplingScore
from .viewing import Colormap, FilterRule, HeatmapOptions, HeatmapScale

__all__ = [
    "AleatoricOptions",
    "BayesDiffOptions",
    "COARSE_STEP_SIZE",
    "Bootstrap",
    "BootstrapOptions",
    "Center",
    "Colormap",
    "Covariance",
    "DIRECTION_OF",
    "Direction",
    "Distance",
    "DrawOptions",
    "DropoutOptions",
    "EnsembleKind",
    "EnsembleOptions",
    "EnsembleTrainingOptions",
    "FilterRule",
    "GenerativeOptions",
    "GuidanceMode",
    "GuidanceOptions",
    "GuidancePreset",
    "GuidanceUnits",
    "HALF_STEP_SIZE",
    "HeatmapOptions",
    "HeatmapScale",
    "ImageScore",
    "InformationOptions",
    "LaplaceOptions",
    "LEARNING_RATES",
    "MAX_SEED",
    "MIN_WEIGHT",
    "Moment",
    "PaideOptions",
    "Pooling",
    "Quantity",
    "SamplingScore",
    "StepWindow",
    "check_choice",
    "check_range",
    "check_whole",
    "choose",
]
