"""The images of a folder: found, told apart, read."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from ...core.files import reason_of
from .text import printable, read_text

log = logging.getLogger(__name__)
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
ENDINGS = tuple(SUFFIXES)
CLASS_FOLDERS = tuple("0123456789")
BACKGROUND = "white"  # what transparent pictures are laid over
Item = TypeVar("Item")


@dataclass(frozen=True)
class ImageFile:
    """One image file. name: where it is in the folder, as text; size and mtime_ns tell whether it is still the same; label: its class.

    prompt: what it was made from, where that is known.
    """

    path: Path
    name: str
    size: int
    mtime_ns: int
    label: int | None = None
    prompt: str | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        return self.name, self.size, self.mtime_ns

    def caption(self) -> str | None:
        """The text of the .txt file beside it, if there is one. Raises ValueError where that is no text."""
        beside = self.path.with_suffix(".txt")
        return read_text(beside).strip() if beside.is_file() else None


def find_images(folder: Path, label: int | None, by_class: bool) -> list[ImageFile]:
    """The image files of ``folder``, sorted by name; with ``by_class`` those of its sub-folders 0 to 9, each of that class.

    Raises ValueError, in a sentence, where there is no folder or no image.
    """
    if not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is not a folder; give a folder that holds images.")
    if not by_class:
        images = images_in(folder, folder, label)
    else:
        images = [image for name in CLASS_FOLDERS for image in images_in(folder, folder / name, int(name))]
        if outside := len(images_in(folder, folder, None)) if images else 0:
            log.warning("%d images lie outside the folders 0 to 9 and are left out: their class is not known.", outside)
    if not images:
        where = " in folders named 0 to 9; name the class of all images with --class, or sort them into such folders" if by_class else ""
        raise ValueError(f"There is no image in {str(folder)!r}{where}.")
    return images


def find_images_below(folder: Path) -> list[ImageFile]:
    """The image files of a folder and of its sub-folders. Raises ValueError where there is none."""
    folders = [folder, *sorted(p for p in folder.iterdir() if p.is_dir())] if folder.is_dir() else []
    return [image for f in folders for image in images_in(folder, f, None)] or find_images(folder, None, by_class=False)


def images_in(root: Path, folder: Path, label: int | None) -> list[ImageFile]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:  # which knows of most files what they are: half the time
        files = sorted((e.name, e) for e in entries if e.name.lower().endswith(ENDINGS) and not e.name.startswith(".") and e.is_file())
    place = folder.relative_to(root).as_posix()
    before = "" if place == "." else f"{place}/"
    states = ((name, entry.stat()) for name, entry in files)
    return [ImageFile(folder / name, printable(before + name), s.st_size, s.st_mtime_ns, label) for name, s in states]


def read_picture(path: Path) -> Image.Image:
    """The picture as it is seen on a white page, whole in memory, 8 bits a channel. Raises ValueError for what is no readable image."""
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode == "F":
                raise ValueError("pixels are real numbers")
            if picture.mode.startswith("I"):  # 16 bits; Pillow's own conversion would clip them
                return Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype("uint8"))
            if picture.has_transparency_data:
                page = Image.new("RGBA", picture.size, BACKGROUND)
                return Image.alpha_composite(page, picture.convert("RGBA")).convert("RGB")
            return picture.convert("RGB")
    except Exception as error:  # a broken file makes a decoder raise anything
        raise ValueError(reason_of(error)) from error


def with_captions(images: Iterable[ImageFile], prompt: str) -> Iterator[tuple[ImageFile, str]]:
    """Each image with its caption, else the prompt for all; without those whose caption is no text."""
    for image in images:
        try:
            caption = image.caption()
        except ValueError as error:
            leave_out(image.name, f"has a caption that can't be read ({error})")
        else:
            yield image, prompt if caption is None else caption


def leave_out(name: str, reason: str) -> None:
    """The one sentence about an image that a command goes on without."""
    log.warning("%s %s and is left out.", name, reason)


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of ``size`` items, the last one shorter."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
