"""WebUI host: the note that each saved image gets, of the same format as those of the command line and of ComfyUI."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

from ....core.options import DIRECTION_OF, DIRECTION_OF_FREE, Direction, PipelineScore
from ....core.view.notes import Note, write_note
from .infotext import CALLS, SCORE, SETTINGS, VERDICT, read

log = logging.getLogger(__name__)
ENTRY = re.compile(r'\s*(\w[\w \-/]*):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')  # as the web UI reads its infotexts
FORMATS = {".png", ".jpg", ".jpeg", ".webp"}
QUANTITIES = {PipelineScore.ENSEMBLE.value: "epistemic"}  # as every host calls it
ACCEPTED = {"Accepted": True, "Rejected": False}
DRAWN_BY = ("Sampler", "Schedule type", "Steps", "CFG scale", "Size", "Model")


def note_saved_image(params: Any) -> None:
    """For the web UI's ``on_image_saved``. No image is worth less for a note that it has no room for: a line of the log says so."""
    path = Path(params.filename)
    note = note_of((params.pnginfo or {}).get("parameters") or "")
    if note is None or path.suffix.lower() not in FORMATS:
        return
    try:
        write_note(path, note)
    except (ValueError, OSError) as error:
        log.warning("Uncertainty: %s", error)


def note_of(infotext: str) -> Note | None:
    """What an infotext tells of its image; None where it has no score: grids, and images that were not measured."""
    told = entries(infotext)
    if SCORE not in told or "score=" not in told.get(SETTINGS, ""):
        return None
    try:
        score = read(told[SETTINGS])["score"]
        quantity = QUANTITIES.get(score, score)
        verdict = told.get(VERDICT, "")
        return Note(
            quantity,
            direction_of(quantity),
            float(told[SCORE]),
            accepted=ACCEPTED.get(verdict.partition(":")[0]),
            why=verdict.partition(": ")[2] or verdict,
            model_calls=float(told[CALLS]) if CALLS in told else None,
            seed=int(told["Seed"]) if "Seed" in told else None,
            method="; ".join(["host: webui", told[SETTINGS], *(f"{name}: {told[name]}" for name in DRAWN_BY if name in told)]),
        )
    except ValueError:  # written by another version
        return None


def direction_of(quantity: str) -> Direction:
    known = {each.value: direction for each, direction in (DIRECTION_OF | DIRECTION_OF_FREE).items()}
    return known.get(quantity, Direction.LOW_IS_BAD if quantity == PipelineScore.INFORMATION.value else Direction.HIGH_IS_BAD)


def entries(infotext: str) -> dict[str, str]:
    """The entries of the last line, without quotes."""
    lines = infotext.strip().splitlines()
    found = ENTRY.findall(lines[-1]) if lines else []
    return {name: unquoted(value) for name, value in found}


def unquoted(value: str) -> str:
    try:
        return str(json.loads(value)) if value.startswith('"') else value.strip()
    except ValueError:
        return value
