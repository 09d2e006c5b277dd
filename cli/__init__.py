"""The command line: ``uncertainty-nodes demo``, ``score``, ``generate``, ``show``, ``sort``, ``report``, ..; one package each."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from .calibrate.arguments import add_calibrate
from .demo.arguments import add_demo
from .export.arguments import add_export
from .fit_laplace.arguments import add_fit_laplace
from .generate.arguments import add_generate
from .report.arguments import add_report
from .score.arguments import add_score
from .shared.arguments import Parser
from .show.arguments import add_show
from .sort.arguments import add_sort
from .train_ensemble.arguments import add_train_ensemble

COMMANDS = (
    add_demo,
    add_score,
    add_generate,
    add_show,
    add_sort,
    add_calibrate,
    add_report,
    add_export,
    add_fit_laplace,
    add_train_ensemble,
)
TEXT = "Score, draw and keep images by how sure a diffusion model is of them."


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
        logging.error("uncertainty-nodes: stopped. The same command goes on from here.")
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(prog="uncertainty-nodes", description=TEXT)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return parser
