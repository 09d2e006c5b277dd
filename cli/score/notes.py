"""What the score command reads from the images themselves, and writes into them: prompts, and scores that travel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ...core.files import remove_all_leftovers
from ...core.selection.settings import SCORING_SEED
from ..shared.inputs.sources import with_prompts
from ..shared.ledger import Ledger
from ..shared.notes import FORMATS, note_of, notes_in, try_note
from ..shared.pictures import ImageFile
from .options import ScoreOptions
from .rows import Row, Skipped


def own_prompts(images: Iterable[ImageFile]) -> tuple[list[ImageFile], dict[str, Skipped]]:
    """The images with their prompts, and those that have none, by name. Raises ValueError where no image has one."""
    known, without = [], {}
    for image, problem in with_prompts(images, None):
        if problem is None:
            known.append(image)
        else:
            without[image.name] = Skipped(image.size, image.mtime_ns, problem)
    if not known:
        raise ValueError(
            "The prompt is missing: give the one that the images were made from with --prompt, a CSV with the columns image and prompt, or "
            "a .txt beside each image; the images themselves name none."
        )
    return known, without


def take_notes(options: ScoreOptions, ledger: Ledger, images: Iterable[ImageFile]) -> set[str]:
    """The names of the images whose scores, made in exactly this way, stand in their files; they are added to the ledger."""
    rows = [row for image in images if (row := noted_row(options, image))]
    ledger.append(asdict(row) for row in rows)
    return {row.file for row in rows}


def noted_row(options: ScoreOptions, image: ImageFile) -> Row | None:
    settings = options.settings(image.label, image.prompt)
    for note in notes_in(image.path):
        if note.settings == settings and note.image is None:
            state = image.name, image.size, image.mtime_ns, image.label
            return Row(*state, note.score, note.standard_error, note.model_calls or 0.0, note.seconds or 0.0, image.prompt)
    return None


def write_notes(options: ScoreOptions, ledger: Ledger, images: Sequence[ImageFile]) -> None:
    """Into each image that was scored, of the formats that can hold it; the ledger is told what the files are then."""
    files, header, count, told = {image.name: image for image in images}, ledger.header, len(ledger), ledger.options
    if options.seed:  # beside those of 0, as scores usually are, they can't be compared
        told = told | {SCORING_SEED: options.seed}
    for folder in {image.path.parent for image in images}:
        remove_all_leftovers(folder)

    def changed() -> Iterator[dict[str, Any]]:
        for row in ledger.ranked():
            image = files.get(row["file"])
            if image is None or image.path.suffix.lower() not in FORMATS:
                continue
            settings = options.settings(row["label"], row.get("prompt"))
            if try_note(image.path, note_of(row, header, count, told, settings)):
                state = image.path.stat()
                yield row | {"size": state.st_size, "mtime_ns": state.st_mtime_ns}

    ledger.append(list(changed()))
