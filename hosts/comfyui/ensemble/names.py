"""ComfyUI host: which files the names mean that a person writes or chooses as members of an ensemble."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

import folder_paths

from ....core.options import limits

FOLDERS = ("loras", "embeddings")
SHOWN = 8  # names that an error lists


@dataclass(frozen=True)
class MemberFile:
    """A file as a member, and how strong it is."""

    folder: str
    file: str
    strength: float

    @property
    def name(self) -> str:
        return f"{self.file}:{self.strength:g}"


def list_files() -> dict[str, tuple[str, str]]:
    """Name -> (folder, file) of all that can be a member; an embedding that is called like a LoRA has its folder before its name."""
    files: dict[str, tuple[str, str]] = {}
    for folder in FOLDERS:
        for file in folder_paths.get_filename_list(folder):
            files[f"{folder}/{file}" if file in files else file] = (folder, file)
    return files


def parse_names(text: str, strength: float) -> list[MemberFile]:
    """Names by line, or several on a line with commas between them; with or without their folder and ending.

    A name may itself hold commas: of a line, the longest part that names a file is taken. ``:0.8`` behind a name is its strength.
    Raises ValueError for a name that no file has, or several, and for a strength out of range.
    """
    return [file for line in text.splitlines() for file in parse_line(line, strength)]


def parse_line(line: str, strength: float) -> list[MemberFile]:
    pieces, files = line.split(","), []
    while pieces:
        for count in range(len(pieces), 0, -1):
            entry = ",".join(pieces[:count]).strip()
            if count == 1 or not entry or files_called(entry):
                break
        if entry:
            files.append(find_file(entry, strength))
        pieces = pieces[count:]
    return files


def find_file(entry: str, strength: float) -> MemberFile:
    """Raises ValueError for a name that no file has, or several, and for a strength out of range."""
    files = files_called(entry)
    if not files:
        every = [file for folder in FOLDERS for file in folder_paths.get_filename_list(folder)]
        there = f"there are {quoted(every[:SHOWN])}{' and more' if len(every) > SHOWN else ''}" if every else "both folders are empty"
        raise ValueError(f"members names {entry!r}, but no file in the folders loras and embeddings is called so; {there}.")
    if len(files) > 1:
        raise ValueError(f"members names {entry!r}, which may be any of {quoted(file for _, file in files)}; write one of them in full.")
    name, written = split_strength(entry)
    if files_called(entry, whole=True) or written is None:
        written = strength
    limits.LORA_STRENGTH.check(f"strength of {name}", written)
    return MemberFile(*files[0], written)


def files_called(entry: str, whole: bool = False) -> list[tuple[str, str]]:
    """(folder, file) of each that ``entry`` may mean, with a strength behind it unless ``whole``; the closest kind of match only."""
    names = [entry] if whole else [entry, split_strength(entry)[0]]
    for name in names:
        name = name.replace("\\", "/")
        for folder in FOLDERS:
            files = folder_paths.get_filename_list(folder)
            exact = [file for file in files if name == file.replace("\\", "/")]
            if matching := exact or [file for file in files if name in spellings(file)]:
                return [(folder, file) for file in matching]
    return []


def split_strength(entry: str) -> tuple[str, float | None]:
    name, _, strength = entry.rpartition(":")
    if name and re.fullmatch(r"[-+]?\d*\.?\d+", strength.strip()):
        return name.strip(), float(strength)
    return entry, None


def spellings(file: str) -> set[str]:
    path = PurePath(file.replace("\\", "/"))
    return {str(path), str(path.with_suffix("")), path.name, path.stem}


def quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
