"""The export command: the results of a job as JSON and table, at any time, also while the job runs."""

from __future__ import annotations

import logging
from pathlib import Path

from ...core.files import remove_leftovers
from ..shared.export import write_exports
from ..shared.ledger import Ledger
from .options import ExportOptions

STALE = 600.0  # seconds after which nobody is writing a temporary file any more: the job itself may be at its exports now
log = logging.getLogger(__name__)


def run(options: ExportOptions) -> Path:
    """Write both files; returns the JSON's path. Raises FileNotFoundError or ValueError, in a sentence, where there are no results."""
    with Ledger.find(options.folder) as ledger:
        count = len(ledger)
        if not count:
            raise ValueError(f"There is no result in {str(options.folder)!r} yet: wait for the first batch of score or generate.")
        path = write_exports(ledger)
    for written in (path, path.with_suffix(".csv")):
        remove_leftovers(written, STALE)
    log.info("Results of %d images: %s and %s", count, path, path.with_suffix(".csv").name)
    return path
