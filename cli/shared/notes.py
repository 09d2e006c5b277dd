"""What the commands write into image files about them: see core/view/notes for the format."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ...core.options import Direction
from ...core.view.notes import Note, read_notes, write_note
from ...core.view.notes.looks import look_of, notes_of_image
from ...core.view.notes.note import percentile
from .pictures import read_picture
from .text import printable

log = logging.getLogger(__name__)
OWN = ("folder", "device", "seed", "class", "prompt", "prompts", "requests", "the method's defaults")  # of the job or the image
FORMATS = {".png", ".jpg", ".jpeg", ".webp"}


def settings_code(told: Mapping[str, Any]) -> str:
    """Of all that a score depends on: equal codes, scores made in the same way."""
    return sha256(json.dumps(dict(told), sort_keys=True, default=str).encode()).hexdigest()[:16]


def note_of(row: Mapping[str, Any], header: Mapping[str, Any], count: int, options: Mapping[str, Any], settings: str, **more: Any) -> Note:
    """Of a ranked row of results, out of ``count``. header, options: what the ledger tells of the whole job. more: what else is known."""
    told = {"why": f"rank {row['rank']} of {count} by {header['quantity']}", **more}
    return Note(
        header["quantity"],
        Direction(header["direction"]),
        row["score"],
        row.get("standard_error"),
        percentile(row["rank"], count),
        model_calls=row.get("nfe"),
        seconds=row.get("seconds"),
        method=method_words(options),
        settings=settings,
        **told,
    )


def try_note(path: Path, note: Note) -> bool:
    """Whether the note was written; a line of the log says why not: no picture is worth less for a note that has no room in it."""
    try:
        write_note(path, note)
    except (ValueError, OSError) as error:
        log.warning("%s", error)
        return False
    return True


def notes_in(path: Path) -> list[Note]:
    """None where the file has none, is of another format, or has one that can't be read, which a line of the log names."""
    if path.suffix.lower() not in FORMATS:
        return []
    try:
        return read_notes(path)
    except (ValueError, OSError) as error:
        log.warning("%s", printable(str(error)))
        return []


def own_notes(path: Path, notes: Sequence[Note]) -> list[Note]:
    """Of a file that holds the notes of a whole batch, those of this image; its pixels are read only then."""
    if all(note.image is None for note in notes):
        return list(notes)
    try:
        look = look_of(np.asarray(read_picture(path)) / 255)
    except ValueError:
        look = None
    return notes_of_image(notes, look)


def method_words(told: Mapping[str, Any]) -> str:
    """How a job's scores were made, for people and for telling whether two scores can be compared: without what is one image's own.

    Of a path its last part: pictures are given away, and their owner's folders are nobody's business.
    """
    return "; ".join(f"{name}: {last_part(value)}" for name, value in told.items() if name not in OWN and value not in (None, "", [], {}))


def last_part(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(last_part(each) for each in value)
    return value.rsplit("/", 1)[-1] if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
