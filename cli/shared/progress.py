"""How far a command is: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 30.0
LINE = "{desc}: {n_fmt} of {total_fmt} ({percentage:.0f} %), {elapsed} so far, {remaining} to go{postfix}"


@contextmanager
def progress_bar(what: str, total: int, unit: str, done: int = 0) -> Iterator[tqdm]:
    """Yields tqdm's bar, to ``update``. done: how many of ``total`` an earlier run did.

    Where stderr is no terminal, redrawing would fill a file with thousands of bars: there it logs a line at the beginning, at the
    end and every half minute.
    """
    if on_terminal():
        with logging_redirect_tqdm(), tqdm(total=total, initial=done, desc=what, unit=unit) as bar:
            yield bar
    else:
        with LoggedBar(total=total, initial=done, desc=what, unit=unit, bar_format=LINE, miniters=1, file=io.StringIO(),
                       mininterval=SECONDS_BETWEEN_LINES) as bar:  # fmt: skip
            yield bar


def on_terminal() -> bool:
    return sys.stderr.isatty()


class LoggedBar(tqdm):
    """A tqdm bar that is shown by logging it."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        log.info("%s", str(self) if msg is None else msg)
        return True

    def set_postfix(self, *args: Any, **values: Any) -> None:
        super().set_postfix(*args, **values | {"refresh": False})  # a new postfix alone is no reason for a line
