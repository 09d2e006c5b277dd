"""diffusers: all that Python users import.

While a pipeline draws:

    with attach(pipe, record=AleatoricOptions()) as run:
        images = pipe("a cat", num_inference_steps=30).images
    uncertainty = run.result()

attach           record the uncertainty of every image, and guide the sampling by it
UncertaintyGuidance    the same guidance as a guider of modular pipelines: pipe.update_components(guider=...)
UncertaintyCallback    the same as a pipeline's callback, which can stop a run that goes badly
mc_dropout       the same by dropout, for networks that were trained with it
bayesdiff        by the weights' posterior, along a deterministic sampler
generative       by drawing anew with weights of the posterior; pipeline_draw makes a pipeline's call ready for it
fit_laplace      fits that posterior on clean samples

Of images that are there already:

score            how unsure the model is of them
information      how much of their condition they carry; classify: which of several conditions; checklist: each part of one
denoiser         the network as a function of a sample and its noise level, for estimators of one's own

More tries, fewer bad images: best_of (draws candidates, goes on with the best), until (draws again until accepted).

Ensembles:

train_tables, train_words, train_loras    train one, by a TrainingPlan
TableMembers, ConditionMembers, LoraMembers, word_members    make one ready to draw with
decu             how much its members disagree

Models: load_pipeline, load_demo.  Encoders of images for ``generative``: clip_encoder, open_clip_encoder, bundled_encoder.
Options: ``...Options``, each with its defaults.  Results: Uncertainty (scores, maps, direction, cost), and what is kept in files:
Laplace (a fit) and EnsembleParameters (a trained ensemble), each with ``save`` and ``load``.
"""

from ...core.ensemble.file import EnsembleParameters
from ...core.last_layer.laplace import Laplace
from ...core.options import (
    AleatoricOptions,
    BayesDiffOptions,
    BootstrapOptions,
    DrawOptions,
    DropoutOptions,
    EnsembleOptions,
    EnsembleTrainingOptions,
    FreeOptions,
    FreeScore,
    GenerativeOptions,
    GuidanceMode,
    GuidanceOptions,
    InformationOptions,
    LaplaceOptions,
    Quantity,
    StepWindow,
)
from ...core.result import Uncertainty
from .attach import AttachedRun, attach, denoiser, score
from .demo import load_demo
from .draw import bundled_encoder
from .dropout import DropoutRun, mc_dropout
from .ensemble.decu import EnsembleMembers, decu
from .ensemble.members import ConditionMembers, LoraMembers, TableMembers, word_members
from .ensemble.train import TrainingPlan, train_loras, train_tables, train_words
from .information import checklist, classify, information
from .last_layer.bayesdiff import BayesDiffRun, bayesdiff
from .last_layer.generative import generative, pipeline_draw
from .last_layer.image_encoders import clip_encoder, open_clip_encoder
from .last_layer.laplace import fit_laplace
from .load import load_pipeline
from .native.callback import UncertaintyCallback
from .native.guider import UncertaintyGuidance
from .search.best_of import best_of
from .search.until import until

__all__ = [
    "AleatoricOptions",
    "AttachedRun",
    "BayesDiffOptions",
    "BayesDiffRun",
    "BootstrapOptions",
    "ConditionMembers",
    "DrawOptions",
    "DropoutOptions",
    "DropoutRun",
    "EnsembleMembers",
    "EnsembleOptions",
    "EnsembleParameters",
    "EnsembleTrainingOptions",
    "FreeOptions",
    "FreeScore",
    "GenerativeOptions",
    "GuidanceMode",
    "GuidanceOptions",
    "InformationOptions",
    "Laplace",
    "LaplaceOptions",
    "LoraMembers",
    "Quantity",
    "StepWindow",
    "TableMembers",
    "TrainingPlan",
    "Uncertainty",
    "UncertaintyCallback",
    "UncertaintyGuidance",
    "attach",
    "bayesdiff",
    "best_of",
    "bundled_encoder",
    "checklist",
    "classify",
    "clip_encoder",
    "decu",
    "denoiser",
    "fit_laplace",
    "generative",
    "information",
    "load_demo",
    "load_pipeline",
    "mc_dropout",
    "open_clip_encoder",
    "pipeline_draw",
    "score",
    "train_loras",
    "train_tables",
    "train_words",
    "until",
    "word_members",
]
