"""diffusers: what Python users import.

from uncertainty_nodes.hosts.diffusers import attach

with attach(pipe, record=AleatoricOptions()) as run:
    images = pipe("a cat", num_inference_steps=30).images
uncertainty = run.result()
"""

from .attach import attach, denoiser, score
from .demo import load_demo
from .dropout import mc_dropout
from .ensemble.decu import decu
from .ensemble.members import ConditionMembers, LoraMembers, TableMembers, word_members
from .ensemble.train import train_loras, train_tables, train_words
from .image_encoders import clip_encoder, open_clip_encoder
from .information import checklist, classify, information
from .last_layer.bayesdiff import bayesdiff
from .last_layer.generative import generative, pipeline_draw
from .last_layer.laplace import fit as fit_laplace
from .load import load_pipeline
from .search.best_of import best_of
from .search.until import until

__all__ = [
    "ConditionMembers",
    "LoraMembers",
    "TableMembers",
    "attach",
    "bayesdiff",
    "best_of",
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
