"""What several commands check before they begin."""

from __future__ import annotations

import torch


def check_device(device: str) -> None:
    """Raises ValueError for a device that torch does not have here."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} is not available here; use cpu.") from error
