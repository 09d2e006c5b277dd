"""Text chunks of a PNG."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import BinaryIO

from .reading import DAMAGED, KEY, MOST_TEXT, Chunk, Chunks, read_exactly

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def read_text(file: BinaryIO) -> str | None:
    return next((text for chunk in read_chunks(file) if (text := chunk_text(chunk)) is not None), None)


def read_chunks(file: BinaryIO) -> Chunks:
    """Every chunk, with the data of text chunks."""
    read_exactly(file, len(SIGNATURE))
    name = b""
    while name != b"IEND":
        length, name = struct.unpack(">I4s", read_exactly(file, 8))
        if name in TEXTS and length <= MOST_TEXT:
            data = read_exactly(file, length)
            file.seek(4, 1)
            yield name, data
        else:
            file.seek(length + 4, 1)
            yield name, b""


def chunk_text(chunk: Chunk) -> str | None:
    """The text of a chunk of our key, in each of the three forms that PNG has."""
    name, data = chunk
    if name not in TEXTS or not data.startswith(KEY.encode() + b"\0"):
        return None
    rest = data[len(KEY) + 1 :]
    if name == b"tEXt":
        return rest.decode("latin-1")
    if name == b"zTXt":
        return inflate(rest[1:]).decode("latin-1")
    packed, (_, _, content) = rest[:1] == b"\1", [*rest[2:].split(b"\0", 2), b"", b""][:3]
    return (inflate(content) if packed else content).decode("utf-8", "replace")


def inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MOST_TEXT)
    except zlib.error as error:
        raise ValueError(DAMAGED) from error


def with_text(image: bytes, text: str | None) -> bytes:
    """Before the pixels, where readers look that don't go to the end."""
    pieces, place, file = [SIGNATURE], len(SIGNATURE), BytesIO(image)
    new = b"" if text is None else make_chunk(b"tEXt", KEY.encode() + b"\0" + text.encode("ascii"))
    for name, data in read_chunks(file):
        end = file.tell()
        if end > len(image):
            raise ValueError(DAMAGED)
        if name in (b"IDAT", b"IEND") and new:
            pieces.append(new)
            new = b""
        if chunk_text((name, data)) is None:
            pieces.append(image[place:end])
        place = end
    return b"".join(pieces)


def make_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
