"""The show command: the notes in image files, for people or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from ...core.files import reason_of
from ...core.view.notes import Note, read_notes
from ..shared.notes import own_notes
from ..shared.text import printable
from .options import ShowOptions

log = logging.getLogger(__name__)


def run(options: ShowOptions) -> dict[str, list[dict[str, Any]]]:
    """Writes to stdout; returns the notes by file. Raises ValueError where none has a note, or after the others where one is unreadable."""
    notes, unreadable = {}, 0
    for path in options.files:
        try:
            notes[printable(str(path))] = read_checked(path)
        except (OSError, ValueError) as error:
            if len(options.files) == 1:
                raise
            unreadable += 1
            log.error("%s", error)
    if options.json:
        sys.stdout.write(json.dumps({name: [n.to_json() for n in each] for name, each in notes.items()}, indent=1) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for name, each in notes.items() for line in describe(name, each))
    if unreadable:
        raise ValueError(f"{unreadable} of the {len(options.files)} files can't be shown; the lines above say why.")
    if not any(notes.values()):
        raise ValueError("No score is stored there; score writes one into each image with --note.")
    return {name: [note.to_json() for note in each] for name, each in notes.items()}


def read_checked(path: Path) -> list[Note]:
    """The notes of this very image. Raises ValueError or OSError, in a sentence, for what is no image file."""
    name = printable(str(path))
    if path.is_dir():
        raise ValueError(f"{name!r} is a folder: name the image files in it, or list their scores with sort.")
    if not path.exists():
        raise FileNotFoundError(f"There is no file {name!r}.")
    try:
        stored = read_notes(path)
    except OSError as error:
        raise OSError(f"{name!r} can't be read ({reason_of(error)}).") from error
    notes = own_notes(path, stored)
    if stored and not notes:
        log.warning("%s holds the scores of a batch of images, and is none of them clearly.", name)
    return notes


def describe(name: str, notes: list[Note]) -> list[str]:
    if not notes:
        return [f"{name}: no score"]
    return [name, *(f"  {line}" for note in notes for line in describe_note(note))]


def describe_note(note: Note) -> list[str]:
    """The score and what it means, then what is known beside it."""
    error = "" if note.standard_error is None else f" ± {note.standard_error:.2g}"
    score = "no score: not finite" if note.score is None else f"{note.score:.5g}{error}"
    lines = [f"{note.quantity}: {score} ({note.direction.value.replace('_', ' ')})"]
    if note.percentile is not None:
        lines.append(f"  surer than, or as sure as, {note.percentile:.4g} % of the images that it was compared with")
    if note.accepted is not None or note.why:
        verdict = {True: "accepted", False: "rejected", None: ""}[note.accepted]
        lines.append("  " + ": ".join(word for word in (verdict, note.why) if word))
    cost = [f"{note.model_calls:g} model calls"] if note.model_calls is not None else []
    cost += [f"{note.seconds:.3g} s"] if note.seconds is not None else []
    cost += [f"seed {note.seed}"] if note.seed is not None else []
    return [*lines, *(["  " + ", ".join(cost)] if cost else []), *([f"  {note.method}"] if note.method else [])]
