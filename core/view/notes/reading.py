"""What the readers of the image formats share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

KEY = "uncertainty"  # of a PNG's text chunk, and before the colon of an EXIF text
DAMAGED = "it is damaged or cut off; copy or make it again."
MOST_TEXT = 1 << 24  # bytes: a hostile file may claim any length
Chunk = tuple[bytes, bytes]  # its name, its data: empty where it is long and was skipped
Chunks = Iterator[Chunk]


def read_exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise ValueError(DAMAGED)
    return data
