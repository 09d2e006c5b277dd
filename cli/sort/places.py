"""Where sorted images go: into a folder of the kept and one of the rejected, so that no stop loses, doubles or halves one."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ...core.files import remove_all_leftovers, replacing
from ..shared.inputs.sources import find_sources
from ..shared.pictures import ImageFile, images_in
from .options import Put

KEPT, REJECTED = "kept", "rejected"
NUMBER = re.compile(r" \((\d+)\)$")  # at the end of a name that was taken


class Places:
    """target: of the two folders. images: to be sorted; those that an earlier run, or one that was stopped, put there are among them.

    copies: an image's path -> that of its copy in one of the folders.
    """

    def __init__(self, source: Path, target: Path, how: Put) -> None:
        """Raises FileNotFoundError or ValueError, in a sentence, where there is no image."""
        self.target, self.how = target, how
        self.numbers: dict[Path, int] = {}  # a name in a folder -> the number that it is tried with next
        self.sides = {(target / name).resolve() for name in (KEPT, REJECTED)}
        if how is not Put.LIST:
            for side in self.sides:
                remove_all_leftovers(side)
        earlier = [image for name in (KEPT, REJECTED) for image in images_in(target, target / name, None)]
        try:
            found = find_sources(source)
        except ValueError:
            if how is not Put.MOVE or not earlier or not source.exists():
                raise
            found = []  # all were moved
        strangers = [image for image in found if image.path.resolve().parent not in self.sides]
        self.copies = find_copies([image for image in strangers if self.may_have_copy(image.path)], earlier)
        ours = {image.path.resolve() for image in found} if how is not Put.MOVE else None
        copies = set(self.copies.values())
        joined = [image for image in earlier if image.path not in copies and (ours is None or image.path.resolve() in ours)]
        self.images = [*strangers, *joined]

    def may_have_copy(self, path: Path) -> bool:
        """On one disk a move leaves none."""
        return self.how is not Put.MOVE or not on_one_disk(path, self.target)

    def put(self, path: Path, kept: bool) -> str:
        """Moves or copies an image; returns where it is then, from ``target`` on. Nothing is ever replaced: a taken name gets a number."""
        side = self.target / (KEPT if kept else REJECTED)
        there = path if path.resolve().parent in self.sides else self.copies.get(path)
        if there is None:
            there = self.free_name(side / path.name)
            if self.how is Put.MOVE and on_one_disk(path, self.target):
                os.replace(path, there)
                return self.name(there)
            with replacing(there) as temporary:
                shutil.copy2(path, temporary)
        elif there.parent.resolve() != side.resolve():
            before, there = there, self.free_name(side / there.name)
            os.replace(before, there)
        if self.how is Put.MOVE and path.resolve().parent not in self.sides:
            path.unlink()  # its copy on the other disk is whole
        return self.name(there)

    def free_name(self, path: Path) -> Path:
        """The path itself, or with a number where it is taken. Thousands of folders may hold a 0.png: no number is tried twice."""
        path.parent.mkdir(parents=True, exist_ok=True)
        number = self.numbers.get(path, 0)
        while (free := path.with_name(f"{path.stem} ({number}){path.suffix}") if number else path).exists():
            number += 1
        self.numbers[path] = number + 1
        return free

    def name(self, path: Path) -> str:
        return path.relative_to(self.target).as_posix()


def find_copies(images: Sequence[ImageFile], earlier: Sequence[ImageFile]) -> dict[Path, Path]:
    """Of images those that lie in ``earlier`` too, with the same bytes, under the same name or that with a number. Each counts once."""
    by_name: dict[tuple[str, int], list[Path]] = defaultdict(list)
    for image in sorted(earlier, key=lambda image: image.name):
        by_name[plain_name(image.path), image.size].append(image.path)
    copies: dict[Path, Path] = {}
    for image in images:
        there = by_name[plain_name(image.path), image.size]
        if copy := next((path for path in there if filecmp.cmp(image.path, path, shallow=False)), None):
            there.remove(copy)
            copies[image.path] = copy
    return copies


def plain_name(path: Path) -> str:
    return NUMBER.sub("", path.stem) + path.suffix


def order_by_name(path: Path) -> tuple[str, int]:
    """Of names that a move leaves as they are, but for a number."""
    number = NUMBER.search(path.stem)
    return plain_name(path), int(number[1]) if number else 0


def on_one_disk(path: Path, folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    return path.stat().st_dev == folder.stat().st_dev
