"""The images of a folder: found, told apart, read."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

log = logging.getLogger(__name__)
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
CLASS_FOLDERS = tuple("0123456789")


@dataclass(frozen=True)
class Found:
    """One image file. name: its place in the folder; size and mtime_ns tell whether it is still the same; label: its class, if any."""

    path: Path
    name: str
    size: int
    mtime_ns: int
    label: int | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        return self.name, self.size, self.mtime_ns


def find(folder: Path, label: int | None, by_class: bool) -> list[Found]:
    """The image files of ``folder``, sorted by name; with ``by_class`` those of its sub-folders 0 to 9, each of that class.

    Raises ValueError, in a sentence, where there is no folder or no image.
    """
    if not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is not a folder; give a folder that holds images.")
    if not by_class:
        found = images_in(folder, folder, label)
    else:
        found = [image for name in CLASS_FOLDERS for image in images_in(folder, folder / name, int(name))]
        if outside := len(images_in(folder, folder, None)) if found else 0:
            log.warning("%d images lie outside the folders 0 to 9 and are left out: their class is not known.", outside)
    if not found:
        where = " in folders named 0 to 9; name the class of all images with --class, or sort them into such folders" if by_class else ""
        raise ValueError(f"There is no image in {str(folder)!r}{where}.")
    return found


def images_in(root: Path, folder: Path, label: int | None) -> list[Found]:
    if not folder.is_dir():
        return []
    files = (p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file())
    states = ((p, p.stat()) for p in sorted(files, key=lambda p: p.name))
    return [Found(p, p.relative_to(root).as_posix(), s.st_size, s.st_mtime_ns, label) for p, s in states]


def read(path: Path) -> Image.Image:
    """The picture as it is seen, whole in memory, 8 bits a channel. Raises ValueError for what is no readable image."""
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode == "F":
                raise ValueError("pixels are real numbers")
            if picture.mode.startswith("I"):  # 16 bits; Pillow's own conversion would clip them
                return Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype("uint8"))
            return picture.convert("RGB")
    except Exception as error:  # a broken file makes a decoder raise anything
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
