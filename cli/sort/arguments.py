"""What the sort command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..shared.arguments import DEFAULT, Commands, add_command, read_options
from .options import KEEP, Put, SortOptions

TEXT = """Sort an archive by the scores that are stored in its images, with no model at all: those that ComfyUI, Forge, generate or
score --note have written. Scores made in different ways cannot be compared: the most frequent way counts, and the other images are
left out and told.

list: writes sorted.csv only. move, copy: puts the images into kept/ and rejected/ too; a file of the same name is never replaced."""


def add_sort(commands: Commands[argparse.ArgumentParser]) -> None:
    sort = add_command(commands, "sort", "sort images by the scores stored in them, with no model", TEXT)
    sort.add_argument("folder", type=Path, help="folder of images, with all its sub-folders; or a list of images")
    sort.add_argument("--keep", type=float, default=KEEP.default, help="percent of the images to keep, the surest (default: %(default)g)")
    sort.add_argument("--by", help="the quantity to sort by, such as information (default: the one that most images have)")
    sort.add_argument("--put", choices=[put.value for put in Put], default=Put.LIST.value, help=f"what becomes of the images {DEFAULT}")
    sort.add_argument("--out", type=Path, help="folder for sorted.csv, kept/ and rejected/ (default: FOLDER)")
    sort.set_defaults(run=run_sort)


def run_sort(arguments: argparse.Namespace) -> None:
    from .run import run

    run(read_options(SortOptions, arguments, put=Put(arguments.put)))
