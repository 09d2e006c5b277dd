"""Where PNG, JPEG and WebP keep a text of ours. Standard library only: what can't decode an image can read and write its note."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from . import jpeg, png, webp

START = 12  # bytes that tell the format


def read_text(path: str | Path) -> str | None:
    """Our text in an image file, of which only the outline is read; None where it has none. Raises ValueError for another file."""
    with Path(path).open("rb") as file:
        form = identify(file.read(START))
        file.seek(0)
        return form.read_text(file)


def with_text(image: bytes, text: str | None) -> bytes:
    """An image file's bytes with our text in place of an earlier one, or without it. Raises ValueError for another or a damaged file."""
    return identify(image[:START]).with_text(image, text)


def identify(start: bytes) -> ModuleType:
    if start.startswith(png.SIGNATURE):
        return png
    if start.startswith(jpeg.SIGNATURE):
        return jpeg
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return webp
    raise ValueError("it is no PNG, JPEG or WebP image; save it as one of these.")
