"""What the score command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.options import MAX_SEED, ImageScore
from ..shared.arguments import whole

TEXT = """Score existing images by a model and rank them, the worst last. A stopped run goes on where it was; nothing is scored twice.

information: how much of its prompt or class an image carries (low is bad). denoised: spread of the re-noised predictions
(high is bad). noise: the same of the predicted noise (low is bad).

The demo model knows white digits on black, 32 x 32; name the class of all images with --class, or sort them into sub-folders
named 0 to 9. Other models: the folder of a saved Stable Diffusion (1, 2, XL or 3) pipeline; nothing is downloaded."""


def add_score(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    wide = argparse.RawDescriptionHelpFormatter
    score = commands.add_parser("score", help="score and rank the images of a folder", description=TEXT, formatter_class=wide)
    score.add_argument("folder", type=Path, help="folder of images; only the demo model looks into sub-folders")
    score.add_argument("--by", choices=[by.value for by in ImageScore], default=ImageScore.INFORMATION.value, help="(default: %(default)s)")
    score.add_argument("--model", default="demo", help="demo, or the folder of a saved diffusers pipeline (default: %(default)s)")
    condition = score.add_mutually_exclusive_group()
    condition.add_argument("--class", dest="label", type=whole(0, 9), help="demo: the digit that all images should show")
    condition.add_argument("--prompt", help="other models: what all images were made from")
    score.add_argument("--negative", help="what information compares the prompt with (default: the empty prompt)")
    score.add_argument("--samples", type=whole(2, 1024), help="noise draws per level (default: 4 by information, else 5)")
    score.add_argument("--start-percent", type=float, help="from where in the noise schedule, 0 = noise (default: 0.4, else 0.6)")
    score.add_argument("--end-percent", type=float, help="up to where, 1 = clean (default: 0.6, else 0.75)")
    score.add_argument("--levels", type=whole(1, 1000), default=4, help="noise levels in between (default: %(default)s)")
    score.add_argument("--seed", type=whole(0, MAX_SEED), default=0)
    score.add_argument("--device", default="cpu", help="where torch computes: cpu, cuda, mps (default: %(default)s)")
    score.add_argument("--batch", type=whole(1, 4096), default=8, help="images at once; no score depends on it (default: %(default)s)")
    score.add_argument("--out", type=Path, help="JSON to write, with a .csv beside it (default: FOLDER/uncertainty.json)")
    score.set_defaults(run=run_score)


def run_score(arguments: argparse.Namespace) -> None:
    try:
        from .options import ScoreOptions
        from .run import run
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"Scoring needs {error.name}: pip install 'uncertainty-nodes[diffusers]'.") from error
    named = {name: getattr(arguments, name) for name in ScoreOptions.__dataclass_fields__ if name != "by"}
    run(ScoreOptions(**named, by=ImageScore(arguments.by)))
