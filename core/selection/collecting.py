"""A file of scores that grows, to which several processes may add."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..files import locked
from .calibration import Calibration


def collect(path: str | Path, further: Calibration, most: int, on_wait: Callable[[], None] = lambda: None) -> Calibration:
    """Add scores to the file, which is made when missing; several processes may do so at once. Returns all that it holds then.

    Raises ValueError when the file holds other scores, or is no calibration; OSError when it can't be written or locked.
    """
    return update(path, lambda history: add(history, further, most), on_wait)


def add(history: Calibration | None, further: Calibration, most: int) -> Calibration:
    """``merge``, also where there is no history yet."""
    return further.thin(most) if history is None else history.merge(further, most)


def update(
    path: str | Path, change: Callable[[Calibration | None], Calibration], on_wait: Callable[[], None] = lambda: None
) -> Calibration:
    """Write what ``change`` makes of what the file holds, None where there is none, while no other process can; returns that."""
    with locked(path, on_wait=on_wait):
        history = change(Calibration.load(path) if Path(path).is_file() else None)
        history.save(path)
        return history
