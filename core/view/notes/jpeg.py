"""The EXIF segment of a JPEG."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from .exif import EMPTY, PREFIX, read_exif, with_exif
from .reading import DAMAGED, KEY, read_exactly

SIGNATURE = b"\xff\xd8"
BARE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
MOST_IN_SEGMENT = 65_533  # bytes


def read_text(file: BinaryIO) -> str | None:
    block = find_exif(file)
    return None if block is None else read_exif(block.removeprefix(PREFIX), KEY)


def read_segments(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Marker, where it begins, and what it holds, up to the pixels. Raises ValueError for a damaged file."""
    place = len(read_exactly(file, 2))
    while True:
        mark, marker = read_exactly(file, 2)
        if mark != 0xFF:
            raise ValueError(DAMAGED)
        if marker == 0xFF or marker in BARE:  # a filling byte, or nothing inside
            place += 1 if marker == 0xFF else 2
            file.seek(place)
            continue
        if marker in (0xDA, 0xD9):
            yield marker, place, b""
            return
        (length,) = struct.unpack(">H", read_exactly(file, 2))
        yield marker, place, read_exactly(file, max(length - 2, 0))
        place += 2 + length


def find_exif(file: BinaryIO) -> bytes | None:
    return next((data for marker, _, data in read_segments(file) if marker == 0xE1 and data.startswith(PREFIX)), None)


def with_text(image: bytes, text: str | None) -> bytes:
    """In the EXIF segment that is there, else in a new one behind the JFIF header, which has to be the first."""
    start = end = len(SIGNATURE)
    block = EMPTY
    for marker, place, data in read_segments(BytesIO(image)):
        if marker == 0xE1 and data.startswith(PREFIX):
            start, end, block = place, place + 4 + len(data), data[len(PREFIX) :]
            break
        if marker == 0xE0 and place == len(SIGNATURE):
            start = end = place + 4 + len(data)
    if start == end and text is None:
        return image
    data = PREFIX + with_exif(block, KEY, text)
    if len(data) > MOST_IN_SEGMENT:
        raise ValueError(f"a JPEG has room for {MOST_IN_SEGMENT:,} bytes of EXIF data, and this would need {len(data):,}; use PNG or WebP.")
    return image[:start] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + image[end:]
