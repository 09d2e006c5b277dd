"""What the report command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..shared.arguments import Commands, add_command, add_whole, read_options
from .options import KEEP, THUMBNAIL, ReportOptions

TEXT = """Make a page to look at of any folder of results: all images, the surest first, with a slider for how many to keep, what that does
to each prompt, and a list of the chosen to save. It works offline, from the disk, and stays quick with many thousand images.

FOLDER: what generate or score has written (score's .json, too), also while it still runs; or any images that carry their scores, as
ComfyUI's and Forge's do. A heatmap is shown of each image that has a map beside the results, as generate writes them and score --maps:
a 2-D array, high where the model is unsure, maps/NUMBER.npy of generate's images or maps/FILE.npy of others. A stopped run goes on
where it was."""


def add_report(commands: Commands[argparse.ArgumentParser]) -> None:
    report = add_command(commands, "report", "make a page to look at of a folder of results", TEXT)
    report.add_argument("folder", type=Path, help="folder with results, or with images that carry scores")
    report.add_argument("--out", type=Path, help="folder for index.html and the small images (default: FOLDER/report)")
    report.add_argument("--keep", type=float, default=KEEP.default, help="percent that the slider begins at (default: %(default)g)")
    add_whole(report, "--thumbnail", bounds=THUMBNAIL, help="longest side of the small images, in pixels")
    report.set_defaults(run=run_report)


def run_report(arguments: argparse.Namespace) -> None:
    from .run import run

    run(read_options(ReportOptions, arguments))
