"""Every option of the pack: frozen, validated when made; the only source of defaults, ranges and combo values."""

from . import limits
from .bayesian import BayesDiffOptions, Covariance, DropoutOptions, GenerativeOptions, LaplaceOptions
from .bounds import Bounds, bounded, bounds, check_fields
from .checks import check_choice, check_range, check_whole, choose
from .ensemble import (
    LEARNING_RATES,
    Bootstrap,
    BootstrapOptions,
    Distance,
    EnsembleKind,
    EnsembleOptions,
    EnsembleTrainingOptions,
    Moment,
    PaideOptions,
)
from .filtering import Borderline, FilterRule, FolderPlace, FolderScore, Unanswered
from .generation import RejectedTo, SamplingPasses
from .guidance import COARSE_STEP_SIZE, HALF_STEP_SIZE, GuidanceMode, GuidanceOptions, GuidancePreset, GuidanceUnits
from .limits import MAX_SEED
from .loading import Precision, SchedulerName
from .requests import Request, parse_size
from .sampling import FREE_WINDOWS, AleatoricOptions, DrawOptions, FreeOptions, InformationOptions, StepWindow
from .scores import (
    DIRECTION_OF,
    DIRECTION_OF_FREE,
    Center,
    Direction,
    FreeScore,
    GapWeight,
    ImageScore,
    PipelineScore,
    Pooling,
    Quantity,
    SamplingScore,
)
from .search import DRAWN_SCORERS, SINGLE_RULES, BestOfOptions, Scorer, SearchMode, UntilOptions
from .sweep import SweepSetting, parse_numbers, parse_sweep
from .viewing import Colormap, HeatmapOptions, HeatmapScale

__all__ = [
    "AleatoricOptions",
    "BayesDiffOptions",
    "BestOfOptions",
    "Borderline",
    "Bounds",
    "COARSE_STEP_SIZE",
    "Bootstrap",
    "BootstrapOptions",
    "Center",
    "Colormap",
    "Covariance",
    "DIRECTION_OF",
    "DIRECTION_OF_FREE",
    "Precision",
    "Request",
    "SchedulerName",
    "parse_size",
    "Direction",
    "Distance",
    "DrawOptions",
    "DRAWN_SCORERS",
    "DropoutOptions",
    "EnsembleKind",
    "EnsembleOptions",
    "EnsembleTrainingOptions",
    "FREE_WINDOWS",
    "FilterRule",
    "FolderPlace",
    "FolderScore",
    "FreeOptions",
    "FreeScore",
    "GapWeight",
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
    "Moment",
    "PaideOptions",
    "PipelineScore",
    "Pooling",
    "Quantity",
    "RejectedTo",
    "SINGLE_RULES",
    "SamplingPasses",
    "SamplingScore",
    "Scorer",
    "SearchMode",
    "StepWindow",
    "SweepSetting",
    "Unanswered",
    "UntilOptions",
    "bounded",
    "bounds",
    "check_choice",
    "check_fields",
    "check_range",
    "check_whole",
    "choose",
    "limits",
    "parse_numbers",
    "parse_sweep",
]
