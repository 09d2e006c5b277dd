"""What the calibrate command is asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.options.limits import BAD_SHARE, CALIBRATION, CONFIDENCE
from ..shared.arguments import Commands, add_command, add_whole, read_options
from .options import EARLY_FILE, FILE, CalibrateOptions

TEXT = """Collect the scores of a run of generate or score in a file, so that later images can be judged by what is usual, one at a time.
Runs of one kind may be added to one file, also several at once; scores of another model, prompt kind, sampler, number of steps or
quantity are refused. A run that is added again adds only what is new. Loads no model.

The file is for generate --until-kept --calibration and sort --calibration. With --early it is for generate --mode stop
--early-calibration: it holds what the images of generate --early-at, or of --mode stop itself, scored on their way. Scores of a run
may be added to the very file that it goes by: its folder goes on with what that held when the run was begun.
ComfyUI and Forge read it too, from models/uncertainty/calibration; there as here it judges scores that are made in the same way.

--labels says of some images whether they are good or bad. The rule at_most_bad rests on them, and with --early an early stop is learned
from them, which promises how many of the good images go on. Label every image that you look at, and don't pick."""


def add_calibrate(commands: Commands[argparse.ArgumentParser]) -> None:
    calibrate = add_command(commands, "calibrate", "collect the scores of a run, to judge later images by", TEXT)
    calibrate.add_argument("folder", type=Path, help="folder that score or generate has written (score --out FILE.json: that file)")
    told = f"file to make or to add to (default: {FILE} in FOLDER, with --early {EARLY_FILE})"
    calibrate.add_argument("--out", type=Path, metavar="FILE", help=told)
    calibrate.add_argument("--early", action="store_true", help="what images scored on their way, not the finished ones")
    told = "CSV or JSON lines with file and label, good or bad, of images that you looked at: drawn at random, not picked"
    calibrate.add_argument("--labels", type=Path, help=told)
    told = "a word for what is drawn, such as portraits; scores of another kind are then refused"
    calibrate.add_argument("--prompt-kind", default="", metavar="WORD", help=told)
    add_whole(calibrate, "--limit", bounds=CALIBRATION, help="scores that the file keeps; of more, a random sample")
    told = "with labels: tells whether they suffice to promise that at most PERCENT of the accepted images are bad"
    calibrate.add_argument("--bad-share", type=float, default=BAD_SHARE.default, metavar="PERCENT", help=f"{told} (default: %(default)g)")
    told = "how sure that promise must be, in percent"
    calibrate.add_argument("--confidence", type=float, default=CONFIDENCE.default, help=f"{told} (default: %(default)g)")
    calibrate.set_defaults(run=run_calibrate)


def run_calibrate(arguments: argparse.Namespace) -> None:
    from .run import run

    run(read_options(CalibrateOptions, arguments))
