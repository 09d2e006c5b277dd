"""What the sort command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.options.limits import CONFIDENCE
from ..shared.arguments import DEFAULT, Commands, add_command, read_options
from .options import KEEP, Put, SortOptions

TEXT = """Sort an archive by the scores that are stored in its images, with no model at all: those that ComfyUI, Forge, generate or
score --note have written. Scores made in different ways cannot be compared: the most frequent way counts, and the other images are
left out and told.

list: writes sorted.csv only. move, copy: puts the images into kept/ and rejected/ too; a file of the same name is never replaced.
--at-most-bad needs some hundred labelled images: the limit that it finds holds for images like those; where they are too few it says how
many are needed. A --calibration of another quantity is refused, and one of other steps, samples or guidance where the images tell theirs;
which model drew them they may not tell.
A stopped run goes on where it was, and what an earlier run put there is sorted again, not copied twice: images that were moved there
before count among the others, and may change sides when --keep does."""


def add_sort(commands: Commands[argparse.ArgumentParser]) -> None:
    sort = add_command(commands, "sort", "sort images by the scores stored in them, with no model", TEXT)
    sort.add_argument("folder", type=Path, help="folder of images, with all its sub-folders; or a list of images")
    how_many = sort.add_mutually_exclusive_group()
    told = "percent to keep, the surest; with --calibration, of those earlier images"
    how_many.add_argument("--keep", type=float, default=KEEP.default, help=f"{told} (default: %(default)g)")
    told = "keep as many as may be while at most PERCENT of them are bad, by --labels or --calibration"
    how_many.add_argument("--at-most-bad", type=float, metavar="PERCENT", help=told)
    sort.add_argument("--by", help="the quantity to sort by, such as information (default: the one that most images have)")
    sort.add_argument("--put", choices=[put.value for put in Put], default=Put.LIST.value, help=f"what becomes of the images {DEFAULT}")
    sort.add_argument("--out", type=Path, help="folder for sorted.csv, kept/ and rejected/ (default: FOLDER)")
    told = "scores of earlier images, as calibrate or ComfyUI's Calibrate writes them: keep what is as good as the best of those"
    sort.add_argument("--calibration", type=Path, metavar="FILE", help=f"{told}; for --at-most-bad one with labels, in place of --labels")
    promise = sort.add_argument_group("a promise", "for --at-most-bad")
    promise.add_argument("--confidence", type=float, help=f"how sure that must be, in percent (default: {CONFIDENCE.default:g})")
    told = "CSV or JSON lines with file and label, good or bad, of images that you looked at: drawn at random, not picked"
    promise.add_argument("--labels", type=Path, help=told)
    promise.add_argument("--save-calibration", type=Path, metavar="FILE", help="write scores and labels there, for further images")
    sort.set_defaults(run=run_sort)


def run_sort(arguments: argparse.Namespace) -> None:
    from .run import run

    run(read_options(SortOptions, arguments, put=Put(arguments.put)))
