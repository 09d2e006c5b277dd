"""Our text inside an EXIF block, which JPEG and WebP keep: added without moving what is there.

A TIFF block is a header, then directories of 12-byte entries that point to data anywhere in it. ComfyUI writes what a PNG has as text
chunks as "key:text" into ASCII entries of the first directory, and that is where ours is looked for and put.
"""

from __future__ import annotations

import struct

ASCII = 2  # the type of an entry's data
DOCUMENT_NAME = 0x010D  # what ours is called; if that is taken, the next lower number that is free
EMPTY = b"II*\0\x08\0\0\0" + b"\0\0" + b"\0\0\0\0"  # no entry, no further directory
PREFIX = b"Exif\0\0"
Entry = tuple[int, int, int, bytes]  # tag, type, count, data or where it is


def read_exif(block: bytes, key: str) -> str | None:
    """The text of the entry "key:text"; None where there is none. Raises ValueError for a damaged block."""
    order, _, entries, _ = read_directory(block)
    index = find_entry(block, order, entries, key)
    return None if index is None else entry_text(block, order, entries[index])[len(key) + 1 :].decode("latin-1")


def with_exif(block: bytes, key: str, text: str | None) -> bytes:
    """The block with the entry "key:text", or without it: a new first directory at its end, and all else where it was."""
    order, start, entries, following = read_directory(block)
    index = find_entry(block, order, entries, key)
    if index is not None:
        block = without_tail(block, order, start, entries, index)
        del entries[index]
    elif text is None:
        return block
    block += b"\0" * (len(block) % 2)  # directories begin at even places
    if text is not None:
        tag = next(tag for tag in range(DOCUMENT_NAME, 0, -1) if tag not in {entry[0] for entry in entries})
        data = f"{key}:{text}".encode("ascii") + b"\0"
        place = len(block) + 2 + 12 * (len(entries) + 1) + 4
        entries.append((tag, ASCII, len(data), struct.pack(order + "I", place)))
    else:
        data = b""
    rows = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in sorted(entries))
    directory = struct.pack(order + "H", len(entries)) + rows + struct.pack(order + "I", following)
    return block[:4] + struct.pack(order + "I", len(block)) + block[8:] + directory + data


def read_directory(block: bytes) -> tuple[str, int, list[Entry], int]:
    """Byte order, place of the first directory, its entries, and the place of the next. Raises ValueError for a damaged block."""
    try:
        order = {b"II*\0": "<", b"MM\0*": ">"}[block[:4]]
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        places = range(start + 2, start + 2 + 12 * count, 12)
        entries = [(*struct.unpack_from(order + "HHI", block, place), block[place + 8 : place + 12]) for place in places]
        (following,) = struct.unpack_from(order + "I", block, start + 2 + 12 * count)
    except (KeyError, struct.error) as error:
        raise ValueError("its EXIF data are damaged; save it again from an image program.") from error
    return order, start, entries, following


def find_entry(block: bytes, order: str, entries: list[Entry], key: str) -> int | None:
    begin = f"{key}:".encode()
    return next((i for i, entry in enumerate(entries) if entry_text(block, order, entry).startswith(begin)), None)


def entry_text(block: bytes, order: str, entry: Entry) -> bytes:
    """An ASCII entry's bytes; empty for another type."""
    _, kind, count, value = entry
    if kind != ASCII:
        return b""
    if count <= 4:
        return value[:count].rstrip(b"\0")
    (place,) = struct.unpack(order + "I", value)
    return block[place : place + count].rstrip(b"\0")


def without_tail(block: bytes, order: str, start: int, entries: list[Entry], index: int) -> bytes:
    """The block without its directory and our text where these are the last of it, as we write them: else it would grow each time."""
    (place,) = struct.unpack(order + "I", entries[index][3])
    count = entries[index][2]
    ours = start + 2 + 12 * len(entries) + 4 == place and place + count == len(block)
    return block[:start] if ours and start > 8 else block
