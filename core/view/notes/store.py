"""Notes in image files: read without decoding a pixel, written without changing one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ...files import replacing
from .containers import read_text, with_text
from .note import Note, parse_notes, to_text


def read_notes(path: str | Path) -> list[Note]:
    """What a PNG, JPEG or WebP says of itself, one note a score; none where it says nothing.

    Raises OSError for a file that can't be opened, ValueError, in a sentence, for a damaged file or note.
    """
    try:
        text = read_text(path)
        return parse_notes(text) if text is not None else []
    except ValueError as error:
        raise ValueError(f"{str(path)!r} can't be read: {error}") from error


def write_note(path: str | Path, note: Note) -> None:
    """Adds a note to a PNG, JPEG or WebP, in place of an earlier one of the same quantity. Raises what ``write_notes`` raises."""
    write_notes(path, [*(other for other in read_notes(path) if other.quantity != note.quantity), note])


def write_notes(path: str | Path, notes: Sequence[Note]) -> None:
    """The file with these notes in place of all earlier ones; pixels, prompts and everything else stay byte for byte as they are.

    So does its date, by which people sort. Nothing is written where nothing changes.

    Raises ValueError, in a sentence, for another format, a damaged file, or a JPEG without
    room for it; OSError when the file can't be read or written.
    """
    path = Path(path)
    try:
        before = path.read_bytes()
        after = with_text(before, to_text(notes) if notes else None)
    except ValueError as error:
        raise ValueError(f"Nothing can be written into {str(path)!r}: {error}") from error
    if after != before:
        with replacing(path) as temporary:
            temporary.write_bytes(after)
            state = path.stat()
            os.utime(temporary, ns=(state.st_atime_ns, state.st_mtime_ns))
