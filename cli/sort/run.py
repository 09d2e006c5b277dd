"""The sort command: images in the order of the scores that they carry, the surest first, and the two sides of a share that is kept."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.files import remove_leftovers, replacing
from ...core.view.notes import Note
from ..shared.inputs.sources import is_list
from ..shared.notes import notes_in, own_notes
from ..shared.pictures import ImageFile
from ..shared.progress import progress_bar
from .options import Put, SortOptions
from .places import Places, order_by_name

log = logging.getLogger(__name__)
TABLE = "sorted.csv"
COLUMNS = ("file", "rank", "score", "quantity", "direction", "kept")


@dataclass(frozen=True)
class Scored:
    image: ImageFile
    note: Note

    @property
    def way(self) -> tuple[str, str, str]:
        """How it was scored: only equals can be compared."""
        return self.note.quantity, self.note.direction.value, self.note.method


def run(options: SortOptions) -> list[Scored]:
    """Put the images where they are asked to be, and write sorted.csv; returns them, the surest first."""
    target = options.target if options.out or not is_list(options.folder) else options.folder.parent
    places = Places(options.folder, target, options.put)
    scored = comparable(collect(places.images, options), len(places.images))
    scored.sort(key=lambda s: (s.note.badness, order_by_name(s.image.path), s.image.name))
    kept = count_kept(options, scored)
    files = [each.image.name for each in scored]
    if options.put is not Put.LIST:
        places_now = [places.put(each.image.path, number < kept) for number, each in enumerate(scored)]
        files = places_now if options.put is Put.MOVE else files
    write_table(target / TABLE, scored, files, kept)
    log.info("Kept %d of %d by %s: %s", kept, len(scored), scored[0].note.quantity, target / TABLE)
    return scored


def count_kept(options: SortOptions, scored: Sequence[Scored]) -> int:
    """How many of the surest. Raises what ``keep_by_promise`` raises."""
    if options.at_most_bad is None and options.calibration is None:
        return round(len(scored) * options.keep / 100)
    from .promise import keep_by_calibration, keep_by_promise  # late: the other way needs no torch

    notes = [each.note for each in scored]
    if options.at_most_bad is None and options.calibration is not None:
        return keep_by_calibration(options.calibration, options.keep, notes)
    return keep_by_promise(options, [each.image for each in scored], notes)


def collect(images: Sequence[ImageFile], options: SortOptions) -> list[Scored]:
    """Every stored score of the quantity that is asked for, of any without one."""
    scored = []
    with progress_bar("Read", len(images), "image") as bar:
        for image in images:
            notes = own_notes(image.path, notes_in(image.path))
            scored += [Scored(image, note) for note in notes if options.by in (None, note.quantity)]
            bar.update(1)
    if not scored:
        by = f" by {options.by}" if options.by else ""
        raise ValueError(
            f"None of the {len(images)} images in {str(options.folder)!r} carries a score{by}; score --note writes them, and generate when "
            "it ends."
        )
    return scored


def comparable(scored: Sequence[Scored], images: int) -> list[Scored]:
    """The scores of the most frequent way, one an image."""
    way, _ = Counter(each.way for each in scored).most_common(1)[0]
    same = {each.image.path: each for each in scored if each.way == way}
    others = sorted({f"{each.note.quantity} ({each.note.method or 'it is not told how'})" for each in scored if each.way != way})
    if len(same) < images:
        told = f" (scored in other ways: {'; '.join(others[:5])})" if others else ""
        left = "%d of %d images carry no score that can be compared with the others' and are left out%s."
        log.warning(left, images - len(same), images, told)
    return list(same.values())


def write_table(path: Path, scored: Sequence[Scored], files: Sequence[str], kept: int) -> None:
    remove_leftovers(path)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
        write = csv.writer(file, lineterminator="\n").writerow
        write(COLUMNS)
        for rank, (each, name) in enumerate(zip(scored, files, strict=True), start=1):
            score = "" if each.note.score is None else repr(each.note.score)
            write([name, rank, score, each.note.quantity, each.note.direction.value, "yes" if rank <= kept else "no"])
