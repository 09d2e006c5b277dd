"""Text that people wrote: prompts, captions, JSON; and names of files as text that any file can hold."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path) -> str:
    """A text file as people write it: UTF-8 with or without the mark that Windows puts first, or UTF-16 with its mark.

    Raises ValueError, naming the file, for other bytes; OSError for a file that can't be opened.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-16" if data.startswith(WIDE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(path)!r} is not UTF-8 text ({error.reason} at byte {error.start}); save it again as UTF-8.") from error


def printable(name: str) -> str:
    r"""A file name as valid text: bytes that are not UTF-8, which Python keeps as lone surrogates, become ``\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
