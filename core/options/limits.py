"""Defaults and ranges of what belongs to no options class of ours: a host's own settings, counts, weights and percentages."""

from __future__ import annotations

from .bounds import Bounds

STEPS = Bounds(20, 1, 10_000)  # sampling steps; a sampler may refuse more than the model was trained on
CFG = Bounds(8.0, 0.0, 100.0, 0.1)  # scale of classifier-free guidance; 1 = off
MIX = Bounds(1.0, 0.0, 100.0, 0.1)  # the same, of the prediction that is measured
DENOISE = Bounds(1.0, 0.01, 1.0, 0.01)  # of image to image; 1 = from noise alone
IMAGES = Bounds(16, 1, 1_000_000)  # how many to draw
KEEP = Bounds(0, 0, 1_000_000)  # how many of them to keep
BATCH = Bounds(8, 1, 4096)  # images in a call, which changes speed and memory only
PIXELS = Bounds(0, 0, 16_384)  # an image's side; 0 = the model's own
LEVELS = Bounds(4, 1, 1000)  # noise levels that a finished image is measured at
DIGIT = Bounds(3, 0, 9)  # classes of the demo model
MEMBERS = Bounds(5, 1, 1024)  # of an ensemble that is trained
RANK = Bounds(4, 1, 1024)  # of LoRAs that are trained
VECTORS = Bounds(1, 1, 64)  # of an embedding that is trained
LORA_STRENGTH = Bounds(1.0, -20.0, 20.0, 0.01)
GRID_COLUMNS = Bounds(0, 0, 64)  # of a grid of pictures; 0 = chosen by what is shown
PERCENT = Bounds(50.0, 0.0, 100.0, 0.5)
GOING_ON = Bounds(95.0, 0.0, 100.0, 0.5)  # percent of the good images, or of all, that an early stop lets go on
BAD_SHARE = Bounds(5.0, 0.1, 90.0, 0.5)  # percent of the accepted images that may be bad
CONFIDENCE = Bounds(95.0, 50.0, 99.9, 0.5)  # percent, of a promise
FILTER_VALUE = Bounds(30.0, -1e9, 1e9, 1e-4)  # a percent, a count or a score, as the rule says
BAND = Bounds(15.0, 0.0, 100.0, 0.5)  # percent to each side of a filter's line within which an image is borderline
REVIEW_SECONDS = Bounds(0, 0, 86_400)  # that a review waits for a person; 0 = as the person has set it
EXTRA_WEIGHT = Bounds(0.5, 0.0, 1.0, 0.05)  # of scores from elsewhere beside ours
COMBINE_WEIGHT = Bounds(1.0, 0.0, 1e6, 0.05)  # of one result beside others
MEMBER_WEIGHT = Bounds(1.0, 1e-12, 1e6)  # of an ensemble's member; one that should not count is left out instead
CALIBRATION = Bounds(10_000, 10, 1_000_000)  # scores that a calibration keeps
WORKERS = Bounds(0, 0, 10_000)  # processes with a model each; 0 = as many as there are GPUs, else processors
THREADS = Bounds(0, 0, 1024)  # of torch on processors; 0 = chosen by what there is
SWEEP_VALUES = 64  # values of a sweep
MAX_SEED = 0xFFFFFFFFFFFFFFFF
SEED = Bounds(0, 0, MAX_SEED)
