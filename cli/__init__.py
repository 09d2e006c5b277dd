"""The command line: ``uncertainty-nodes demo``, ``score``, ``generate``, ``fit-laplace`` and ``train-ensemble``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ..core.options import MAX_SEED, GuidanceOptions, ImageScore
from .arguments import whole
from .fit_laplace_arguments import add_fit_laplace
from .generate_arguments import add_generate
from .train_ensemble_arguments import add_train_ensemble


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. Errors that a user can mend are one sentence, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        logging.error("uncertainty-nodes: %s", error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="uncertainty-nodes", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="draw, score, guide and filter images with the bundled model; writes a page to look at")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write to (default: %(default)s)")
    demo.add_argument("--images", type=whole(2, 100_000), default=64, help="how many to draw (default: %(default)s)")
    demo.add_argument("--steps", type=whole(1, 1000), default=50, help="sampling steps (default: %(default)s)")
    demo.add_argument("--samples", type=whole(2, 1024), default=5, help="noise draws per measured step (default: %(default)s)")
    demo.add_argument("--strength", type=float, nargs="*", help="guidance strengths to compare (default: half, once and twice the preset)")
    demo.add_argument("--drop", type=float, default=25.0, help="percent of the images to reject (default: %(default)g)")
    demo.add_argument("--seed", type=whole(0, MAX_SEED), default=0)
    demo.add_argument("--device", default="cpu", help="where torch computes: cpu, cuda, mps (default: %(default)s)")
    demo.set_defaults(run=run_demo)
    add_score(commands)
    add_generate(commands)
    add_fit_laplace(commands)
    add_train_ensemble(commands)
    return parser


SCORE = """Score existing images by a model and rank them, the worst last. A stopped run goes on where it was; nothing is scored twice.

information: how much of its prompt or class an image carries (low is bad). denoised: spread of the re-noised predictions
(high is bad). noise: the same of the predicted noise (low is bad).

The demo model knows white digits on black, 32 x 32; name the class of all images with --class, or sort them into sub-folders
named 0 to 9. Other models: the folder of a saved Stable Diffusion (1, 2, XL or 3) pipeline; nothing is downloaded."""


def add_score(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    wide = argparse.RawDescriptionHelpFormatter
    score = commands.add_parser("score", help="score and rank the images of a folder", description=SCORE, formatter_class=wide)
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


def run_demo(arguments: argparse.Namespace) -> None:
    try:
        from .demo import DemoOptions, run  # late: --help must not wait for torch and diffusers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"The demo needs {error.name}: pip install 'uncertainty-nodes[diffusers]'.") from error
    default = GuidanceOptions().strength
    strengths = (default / 2, default, 2 * default) if arguments.strength is None else tuple(arguments.strength)
    options = DemoOptions(
        out=arguments.out,
        images=arguments.images,
        steps=arguments.steps,
        samples=arguments.samples,
        strengths=strengths,
        drop=arguments.drop,
        seed=arguments.seed,
        device=arguments.device,
        command=" ".join(["uncertainty-nodes", *sys.argv[1:]]),
    )
    run(options)


def run_score(arguments: argparse.Namespace) -> None:
    try:
        from .score import run
        from .score_options import ScoreOptions
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"Scoring needs {error.name}: pip install 'uncertainty-nodes[diffusers]'.") from error
    named = {name: getattr(arguments, name) for name in ScoreOptions.__dataclass_fields__ if name != "by"}
    run(ScoreOptions(**named, by=ImageScore(arguments.by)))
