"""What the demo command is asked on the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...core.options import MAX_SEED, GuidanceOptions
from ..shared.arguments import whole


def add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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


def run_demo(arguments: argparse.Namespace) -> None:
    try:
        from .run import DemoOptions, run  # late: --help must not wait for torch and diffusers
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
