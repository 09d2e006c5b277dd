"""What argparse is told that several commands share."""

from __future__ import annotations

import argparse


def whole(low: int, high: int) -> type[int]:
    """An argparse type: a whole number from low to high."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, got {text!r}")
        return int(text)

    return parse
