"""Which images a command is to look at: of a folder and all in it, of a list, or of a CSV that names their prompts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ..pictures import SUFFIXES, ImageFile, find_images, images_in, leave_out
from ..text import printable
from .metadata import prompt_in
from .tables import JSON_LINES, first_of, read_rows

NO_IMAGES = ".nomedia"  # a file that says that a folder's pictures are nobody's images, as on phones: a report's thumbnails
LISTS = (".txt", ".csv", *JSON_LINES)
IMAGE = ("image", "file", "path", "filename", "file_name")  # columns that may name the image


def is_list(path: Path) -> bool:
    return path.suffix.lower() in LISTS and not path.is_dir()


def find_sources(source: Path, label: int | None = None, by_class: bool = False) -> list[ImageFile]:
    """by_class: of a folder, the classes are its sub-folders 0 to 9. Raises FileNotFoundError or ValueError, in a sentence, for none."""
    if is_list(source):
        return listed_images(source, label)
    if by_class or not source.is_dir():
        return find_images(source, label, by_class)
    images = [image for folder in folders_below(source) for image in images_in(source, folder, label)]
    return images or find_images(source, label, by_class=False)  # which says that there is none


def folders_below(source: Path) -> list[Path]:
    """The folder, and in the order of their paths all in it; without those that are hidden or marked, and what lies in them."""
    folders, marked = [], set()
    for place, names, files in os.walk(source):
        if NO_IMAGES in files and Path(place) != source:
            marked.add(Path(place))
            names.clear()
        names[:] = [name for name in names if not name.startswith(".")]
        folders += [Path(place, name) for name in names]
    return [source, *sorted(folder for folder in folders if folder not in marked)]


def listed_images(source: Path, label: int | None) -> list[ImageFile]:
    """What isn't there is named and left out. Names are as the list has them, relative ones from its folder on."""
    column = image_column(source)
    images: dict[str, ImageFile] = {}
    for number, row in read_rows(source, column, "image"):
        path = source.parent / row[column]
        if not path.is_file() or path.suffix.lower() not in SUFFIXES:
            leave_out(f"Line {number}, {printable(row[column])},", "is no image file")
            continue
        prompt, state = first_of(row, ("prompt", "caption")), path.stat()
        images[row[column]] = ImageFile(path, printable(row[column]), state.st_size, state.st_mtime_ns, label, prompt)
    if not images:
        raise ValueError(f"There is no image among those that {str(source)!r} names; its paths begin at its own folder.")
    return list(images.values())


def image_column(source: Path) -> str:
    if source.suffix.lower() != ".csv" or not source.is_file():
        return IMAGE[0]
    with source.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        names = [name.strip().strip('"').lower() for name in file.readline().split(",")]
    return next((name for name in IMAGE if name in names), IMAGE[0])


def with_prompts(images: Iterable[ImageFile], prompt: str | None) -> Iterator[tuple[ImageFile, str | None]]:
    """Each image with its prompt and None, or with why it has none: the list's, the one for all, a .txt beside it, the file's own."""
    for image in images:
        words, problem = image.prompt if image.prompt is not None else prompt, None
        if words is None:
            try:
                words = image.caption() or prompt_in(image.path)
            except ValueError as error:
                problem = f"is no readable image, or its caption is no text ({error})"
        yield replace(image, prompt=words), problem or (None if words else NO_PROMPT)


NO_PROMPT = "names no prompt, neither in itself nor in a .txt beside it"
