"""What the demo command is asked on the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...core.options import bounds
from ..shared.arguments import DEFAULT, Commands, add_command, add_seed_and_device, add_whole, needs_diffusers, read_options
from .options import DemoOptions


def add_demo(commands: Commands[argparse.ArgumentParser]) -> None:
    demo = add_command(commands, "demo", "draw, score, guide and filter images with the bundled model; writes a page to look at")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), help=f"folder to write to {DEFAULT}")
    add_whole(demo, "--images", bounds=bounds(DemoOptions, "images"), help="how many to draw")
    add_whole(demo, "--steps", bounds=bounds(DemoOptions, "steps"), help="sampling steps")
    add_whole(demo, "--samples", bounds=bounds(DemoOptions, "samples"), help="noise draws per measured step")
    strengths = ", ".join(f"{strength:g}" for strength in DemoOptions.strengths)
    demo.add_argument("--strength", type=float, nargs="*", help=f"guidance strengths to compare (default: {strengths})")
    drop = bounds(DemoOptions, "drop").default
    demo.add_argument("--drop", type=float, default=drop, help="percent of the images to reject (default: %(default)g)")
    add_seed_and_device(demo)
    demo.set_defaults(run=run_demo)


def run_demo(arguments: argparse.Namespace) -> None:
    with needs_diffusers("The demo"):
        from .run import run
    strengths = DemoOptions.strengths if arguments.strength is None else tuple(arguments.strength)
    run(read_options(DemoOptions, arguments, strengths=strengths, command=" ".join(["uncertainty-nodes", *sys.argv[1:]])))
