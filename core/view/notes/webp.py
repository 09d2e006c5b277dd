"""The EXIF chunk of a WebP."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import BinaryIO

from .exif import EMPTY, PREFIX, read_exif, with_exif
from .reading import DAMAGED, KEY, Chunks, read_exactly

EXIF_FLAG, ALPHA_FLAG = 0x08, 0x10  # of the VP8X chunk


def read_text(file: BinaryIO) -> str | None:
    block = dict(read_chunks(file, wanted=(b"EXIF",))).get(b"EXIF")
    return None if block is None else read_exif(block.removeprefix(PREFIX), KEY)


def read_chunks(file: BinaryIO, wanted: tuple[bytes, ...] = ()) -> Chunks:
    """Every chunk; wanted: those whose data are read, all where none is named."""
    (size,) = struct.unpack("<4xI4x", read_exactly(file, 12))
    place = 12
    while place + 8 <= size + 8:
        name, length = struct.unpack("<4sI", read_exactly(file, 8))
        if place + 8 + length > size + 8:
            raise ValueError(DAMAGED)
        yield name, read_exactly(file, length) if not wanted or name in wanted else b""
        place += 8 + length + length % 2
        file.seek(place)


def with_text(image: bytes, text: str | None) -> bytes:
    """As an EXIF chunk, which needs the extended form of the file: a plain one gets it."""
    chunks = list(read_chunks(BytesIO(image)))
    before = dict(chunks).get(b"EXIF")
    if before is None and text is None:
        return image
    block = with_exif((before or EMPTY).removeprefix(PREFIX), KEY, text)
    if not chunks or chunks[0][0] != b"VP8X":
        chunks.insert(0, (b"VP8X", make_header(*chunks[0])) if chunks else (b"", b""))
    header = chunks[0][1]
    chunks[0] = b"VP8X", bytes([header[0] | EXIF_FLAG]) + header[1:]
    chunks = [chunk for chunk in chunks if chunk[0] not in (b"EXIF", b"XMP ")] + [(b"EXIF", block)] + [c for c in chunks if c[0] == b"XMP "]
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def make_header(name: bytes, data: bytes) -> bytes:
    """A VP8X chunk's data for a plain WebP: its size, and whether it has transparency."""
    if name == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        width, height, flags = *(side & 0x3FFF for side in struct.unpack_from("<HH", data, 6)), 0
    elif name == b"VP8L" and data[:1] == b"\x2f" and len(data) >= 5:
        (bits,) = struct.unpack_from("<I", data, 1)
        width, height, flags = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, ALPHA_FLAG * (bits >> 28 & 1)
    else:
        raise ValueError(DAMAGED)
    return bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
