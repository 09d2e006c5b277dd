"""The show command: the notes in image files, for people or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from ...core.view.notes import Note, read_notes
from ..shared.notes import own_notes
from ..shared.text import printable
from .options import ShowOptions

log = logging.getLogger(__name__)


def run(options: ShowOptions) -> dict[str, list[dict[str, Any]]]:
    """Writes to stdout; returns the notes by file. Raises what ``read_notes`` raises, and ValueError where no file has a note."""
    notes = {printable(str(path)): read_checked(path) for path in options.files}
    if options.json:
        sys.stdout.write(json.dumps({name: [n.to_json() for n in each] for name, each in notes.items()}, indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(line for name, each in notes.items() for line in describe(name, each)) + "\n")
    if not any(notes.values()):
        raise ValueError("No score is stored there; score writes one into each image with --note.")
    return {name: [note.to_json() for note in each] for name, each in notes.items()}


def read_checked(path: Path) -> list[Note]:
    """The notes of this very image."""
    stored = read_notes(path)
    notes = own_notes(path, stored)
    if stored and not notes:
        log.warning("%s holds the scores of a batch of images, and is none of them clearly.", printable(str(path)))
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
