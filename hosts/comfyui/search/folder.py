"""ComfyUI host: the best images of a folder, looked through one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import comfy.model_management as mm
import comfy.utils
import folder_paths
import node_helpers
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ....core.files import reason_of
from ....core.options import Direction, FolderPlace
from ....core.result import Uncertainty
from ....core.selection.top import Top
from ....core.view.notes import read_notes
from ....core.view.notes.looks import look_of, notes_of_image
from ..sampling.ksampler import Latent

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Judged:
    """One image's score."""

    score: float
    quantity: str
    direction: Direction

    @property
    def badness(self) -> float:
        return self.score if self.direction is Direction.HIGH_IS_BAD else -self.score


Judge = Callable[[Path, Tensor], Judged]  # file and picture (1, H, W, 3); raises ValueError, in a sentence, for what has no score


@dataclass(frozen=True, eq=False)
class RankedFolder:
    """names, pictures, judged: of the best, the best first.  count: images that have a score.  skipped: sentences about the others."""

    names: list[str]
    pictures: list[Tensor]
    judged: list[Judged]
    count: int
    skipped: list[str] = field(default_factory=list)


def folder_in(place: FolderPlace, name: str) -> Path:
    """A folder inside of ComfyUI's own. Raises ValueError for one outside of it, through links too, and for one that isn't there."""
    base = Path(folder_paths.get_input_directory() if place is FolderPlace.INPUT else folder_paths.get_output_directory()).resolve()
    if "\0" in name:
        raise ValueError(f"folder must be a name without a zero byte, got {name!r:.80}; give a name such as 'batch/monday'.")
    folder = (base / name.strip()).resolve()
    if not folder.is_relative_to(base):
        raise ValueError(f"folder must lie inside ComfyUI's {place.value} folder, got {name!r}; give a name such as 'batch/monday'.")
    if not folder.is_dir():
        raise ValueError(f"There is no folder {name!r} in ComfyUI's {place.value} folder.")
    return folder


def image_files(folder: Path) -> list[Path]:
    """Those of the folder itself, by name; links are followed only where they stay inside."""
    files = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted(path for path in files if path.is_file() and path.resolve().is_relative_to(folder))


def stamp_folder(place: str, name: str) -> str:
    """Changes when an image comes, goes or changes; short, since the history keeps it. Empty where there is no such folder."""
    try:
        states = [(path.name, path.stat()) for path in image_files(folder_in(FolderPlace(place), name))]
    except (OSError, ValueError, AttributeError):  # a name that comes over a link is not known yet
        return ""
    told = "\n".join(f"{n}:{s.st_size}:{s.st_mtime_ns}" for n, s in states)
    return hashlib.blake2s(told.encode("utf-8", "surrogateescape")).hexdigest()


def rank_folder(folder: Path, keep: int, judge: Judge) -> RankedFolder:
    """Judge every image, and keep the ``keep`` best in memory. What can't be read or judged is named and left out.

    All scores must be of one quantity: that of the first. Raises ValueError where no image has a score.
    """
    top: Top[tuple[str, Tensor, Judged]] = Top(keep)
    first: Judged | None = None
    skipped: list[str] = []
    paths = image_files(folder)
    if not paths:
        raise ValueError(f"There is no image in {folder.name!r}. Sub-folders are not looked into: name the one that holds the images.")
    for path in watched(paths):
        try:
            picture = read_picture(path)
            judged = judge(path, picture)
            first = first or judged
            if (judged.quantity, judged.direction) != (first.quantity, first.direction):
                raise ValueError(f"its score is of {judged.quantity}, and those before are of {first.quantity}")
        except (OSError, ValueError) as error:
            skipped.append(f"{path.name} is left out: {error}")
        else:
            top.offer(judged.badness, (path.name, picture, judged))
    best = [item for _, item in top.best()]
    if not best:
        raise ValueError(" ".join([f"No image in {folder.name!r} has a score.", *skipped[:3]]))
    return RankedFolder([b[0] for b in best], [b[1] for b in best], [b[2] for b in best], top.seen, skipped)


def watched(paths: list[Path]) -> Iterator[Path]:
    """With a progress bar; a cancel ends it between two images."""
    bar = comfy.utils.ProgressBar(len(paths))
    for path in paths:
        mm.throw_exception_if_processing_interrupted()
        yield path
        bar.update(1)


def read_picture(path: Path) -> Tensor:
    """(1, H, W, 3) in [0, 1], as it is seen on a white page. Raises ValueError for what is no readable image."""
    try:
        with node_helpers.pillow(Image.open, path) as file:
            picture = node_helpers.pillow(ImageOps.exif_transpose, file)
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                page = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(page, picture.convert("RGBA"))
            pixels = np.array(picture.convert("RGB"))
    except UnidentifiedImageError as error:  # its own text shows where on the disk the file lies
        raise ValueError("it can't be read, since it is no image or a broken one") from error
    except Exception as error:  # a broken file makes a decoder raise anything
        raise ValueError(f"it can't be read ({reason_of(error)})") from error
    return torch.from_numpy(pixels.astype(np.float32) / 255)[None]


def judge_by_note(path: Path, picture: Tensor) -> Judged:
    """What Sample Filter, the command line or Forge wrote into the file, the latest of its notes."""
    notes = notes_of_image(read_notes(path), look_of(picture[0]))
    if not notes:
        raise ValueError("no score is written into it")
    if notes[-1].score is None:
        raise ValueError("it failed: its score is not a number")
    return Judged(notes[-1].score, notes[-1].quantity, notes[-1].direction)


def judge_with(encode: Callable[[Tensor], Tensor], measure: Callable[[Latent], Uncertainty]) -> Judge:
    """encode: picture -> latent samples."""

    def judge(path: Path, picture: Tensor) -> Judged:
        result = measure({"samples": encode(picture)})
        if not bool(result.scores.isfinite()):
            raise ValueError("the model gives values that are not finite (NaN) for it")
        return Judged(float(result.scores), result.quantity, result.direction)

    return judge
