"""Where torch computes, and whether there is room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ...core.draws import is_out_of_memory


def check_device(device: str) -> None:
    """Raises ValueError for a device that torch does not have here."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} is not available here; use cpu.") from error


@contextmanager
def enough_memory(images: int) -> Iterator[None]:
    """Raises ValueError, with the way out, where so many images at once do not fit."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(f"Out of memory with {images} images at once; go on with a smaller --batch.") from error
