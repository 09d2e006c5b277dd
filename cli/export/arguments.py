"""What the export command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..shared.arguments import Commands, add_command, read_options
from .options import ExportOptions

TEXT = """Write the results of score or generate as they are now: a .json with all that is known of each image, and a .csv to open as a
table, both with the surest image first. Those commands write them at their end; this one does while they still run, or after they were
killed. Loads no model and changes no result."""


def add_export(commands: Commands[argparse.ArgumentParser]) -> None:
    export = add_command(commands, "export", "write results.json and results.csv of a job now", TEXT)
    export.add_argument("folder", type=Path, help="folder that score or generate writes to (score --out FILE.json: that file)")
    export.set_defaults(run=run_export)


def run_export(arguments: argparse.Namespace) -> None:
    from .run import run

    run(read_options(ExportOptions, arguments))
