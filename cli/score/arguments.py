"""What the score command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.options import AleatoricOptions, DrawOptions, ImageScore, InformationOptions
from ...core.options.bounds import bounds
from ...core.options.limits import LEVELS
from ..shared.arguments import (
    DEFAULT,
    Commands,
    add_batch,
    add_class,
    add_command,
    add_engine,
    add_model,
    add_seed_and_device,
    add_whole,
    needs_diffusers,
    read_engine,
    read_options,
    words,
)
from ..shared.inputs.loading import add_loading, read_loading

TEXT = """Score existing images by a model and rank them, the worst last. A stopped run goes on where it was; nothing is scored twice.

information: how much of its prompt or class an image carries (low is bad). denoised: spread of the re-noised predictions
(high is bad). noise: the same of the predicted noise (low is bad). posterior: the squared error to expect of them (high is bad).

The demo model knows white digits on black, 32 x 32; name the class of all images with --class, or sort them into sub-folders
named 0 to 9. Other models: Stable Diffusion (1, 2, XL or 3), as the folder of a saved pipeline or one .safetensors file; nothing is
downloaded. Their prompts: --prompt for all images, else each image's own from the list, from a .txt file beside it, or from what
A1111, Forge or ComfyUI wrote into it.

All images are scored with the same noise draws, today and in every later run, so that scores of several folders can be compared. --seed
takes other draws, which moves all scores of a run together: it shows how far scores depend on the draws, and more --samples make that
less. calibrate and sort don't mix scores of different seeds.

Transparent images are scored as they look on a white page. An image that can't be read is named and left out; one whose values are not
finite gets no score and ranks last. Neither changes the other images' scores."""


def add_score(commands: Commands[argparse.ArgumentParser]) -> None:
    score = add_command(commands, "score", "score and rank the images of a folder", TEXT)
    told = "folder of images, with all its sub-folders; or a list: text with a path a line, a CSV or JSON lines with image and prompt"
    score.add_argument("folder", type=Path, help=told)
    by = [by.value for by in ImageScore]
    score.add_argument("--by", choices=by, default=ImageScore.INFORMATION.value, help=f"what to rank by {DEFAULT}")
    add_model(score)
    condition = score.add_mutually_exclusive_group()
    add_class(condition, "the digit that all images should show")
    told = "other models: what all images were made from (default: the list's, a .txt beside the image, or what the file itself names)"
    condition.add_argument("--prompt", type=words, help=told)
    score.add_argument("--negative", type=words, help="what information compares the prompt with (default: the empty prompt)")
    information, other = InformationOptions(), AleatoricOptions()
    samples = f"{information.draws.samples} by information, else {other.draws.samples}"
    add_whole(score, "--samples", bounds=bounds(DrawOptions, "samples"), help="noise draws per level", default=samples)
    start, end = (f"(default: {getattr(information.window, e):g}, else {getattr(other.window, e):g})" for e in ("start", "end"))
    score.add_argument("--start-percent", type=float, help=f"from where in the noise schedule, 0 = noise {start}")
    score.add_argument("--end-percent", type=float, help=f"up to where, 1 = clean {end}")
    add_whole(score, "--levels", bounds=LEVELS, help="noise levels in between")
    add_seed_and_device(score, "number that the noise draws begin from; leave it as it is, unless to see how far scores depend on them")
    add_batch(score)
    add_engine(score)
    score.add_argument(
        "--out", type=Path, help="folder, or a file that ends in .json, to write to; a table .csv lies beside it (default: FOLDER)"
    )
    score.add_argument("--note", action="store_true", help="write each score into its image too: PNG, JPEG and WebP; no pixel changes")
    score.add_argument("--resume", action="store_true", help="take scores that --note wrote into the images, if made in the same way")
    told = (
        "keep where in each image the model is unsure, a file of at most 16 kB each in maps/ beside the results, for the report's heatmaps"
    )
    score.add_argument("--maps", action="store_true", help=told)
    add_loading(score, sampling=False)
    score.set_defaults(run=run_score)


def run_score(arguments: argparse.Namespace) -> None:
    with needs_diffusers("Scoring"):
        from ..shared.engine import make_engine
        from .options import ScoreOptions
        from .run import run
    engine = make_engine(read_engine(arguments), arguments.device)
    run(read_options(ScoreOptions, arguments, by=ImageScore(arguments.by), loading=read_loading(arguments)), engine)
