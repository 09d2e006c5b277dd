"""What the show command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..shared.arguments import Commands, add_command
from .options import ShowOptions

TEXT = """Show what stands in image files about how sure the model was of them: written there by ComfyUI's Sample Filter, by Forge, by
generate, and by score --note. Loads no model."""


def add_show(commands: Commands[argparse.ArgumentParser]) -> None:
    show = add_command(commands, "show", "show the scores that are stored in image files", TEXT)
    show.add_argument("files", type=Path, nargs="+", help="PNG, JPEG or WebP images")
    show.add_argument("--json", action="store_true", help="as JSON, for programs")
    show.set_defaults(run=run_show)


def run_show(arguments: argparse.Namespace) -> None:
    from .run import run

    run(ShowOptions(tuple(arguments.files), arguments.json))
