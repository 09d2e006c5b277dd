"""Small images as files: each made once, and again only when its image has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ...core.files import replacing
from ...core.options import HeatmapOptions, HeatmapScale
from ...core.view.heatmap import heatmap
from ..shared.inputs.sources import NO_IMAGES
from ..shared.pictures import in_batches, leave_out, read_picture
from ..shared.progress import progress_bar
from .results import Shown

FOLDER = "thumbs"
SMALL = 96  # images this small are enlarged whole times, so that their pixels stay sharp
MAPS_LOOKED_AT = 500  # for the scale that all heatmaps share
WEBP_EFFORT = 1  # of 6: files as small as with the default, 4, in a third of the time
AT_ONCE, MOST_WORKERS = 64, 8  # images that wait for a thread; threads, each with a picture in memory
OPACITY = 0.75
LOW, HIGH = 50.0, 99.5  # percentiles: what is surer than half of all pixels stays dark, as an empty background does


def write_thumbnails(images: Sequence[Shown], out: Path, side: int) -> list[tuple[str, str, int, int]]:
    """Of each image its thumbnail's and heatmap's place in ``out`` ("" for none), and its width and height."""
    limits, made = map_limits(images), []
    with replacing(out / FOLDER / NO_IMAGES) as mark:
        mark.touch()

    def write(image: Shown) -> tuple[str, str, int, int] | ValueError:
        try:
            return write_thumbnail(image, out, side, limits)
        except ValueError as error:
            return error

    workers = min(os.cpu_count() or 1, MOST_WORKERS)  # reading and writing pictures lets other threads run
    with one_thread(), ThreadPoolExecutor(workers) as pool, progress_bar("Shrink", len(images), "image") as bar:
        for some in in_batches(images, AT_ONCE):
            for image, written in zip(some, pool.map(write, some), strict=True):
                if isinstance(written, ValueError):
                    leave_out(image.name, f"is no readable image ({written})")
                made.append(("", "", 0, 0) if isinstance(written, ValueError) else written)
                bar.update(1)
    return made


def remove_others(out: Path, made: Sequence[tuple[str, str, int, int]]) -> None:
    """Small images of what the page shows no more, and what was half written when a run was killed. For the only run that writes there."""
    shown = {out / name for thumbnail in made for name in thumbnail[:2] if name}
    for path in (out / FOLDER).rglob("*.*"):
        if path not in shown and path.suffix in (".webp", ".tmp"):
            path.unlink(missing_ok=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """What is done for a small image takes less time than sharing it out."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def write_thumbnail(image: Shown, out: Path, side: int, limits: tuple[float, float]) -> tuple[str, str, int, int]:
    state = image.path.stat()
    name = place(f"{image.path.name} {state.st_size} {state.st_mtime_ns} {side}", "webp")
    heat = "" if image.map is None else place(f"{name} {image.map.stat().st_mtime_ns} {limits}", "heat.webp")
    wants_heat = heat and not (out / heat).is_file()
    with Image.open(image.path) as file:
        size = file.size
    if not (out / name).is_file() or wants_heat:
        picture = fit(read_picture(image.path), side)
        save(picture, out / name)
        if image.map is not None and wants_heat:
            save(with_heat(picture, np.load(image.map, allow_pickle=False), limits), out / heat)
    return name, heat, *size


def place(facts: str, ending: str) -> str:
    """Of what is made of these facts, the same for the same."""
    code = sha256(facts.encode("utf-8", "surrogateescape")).hexdigest()[:20]
    return f"{FOLDER}/{code[:2]}/{code}.{ending}"


def fit(picture: Image.Image, side: int) -> Image.Image:
    longest = max(picture.size)
    if longest <= SMALL:
        times = max(1, side // longest)
        return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST).convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture.convert("RGB")


def save(picture: Image.Image, path: Path) -> None:
    with replacing(path) as temporary:
        picture.save(temporary, format="WEBP", quality=82, method=WEBP_EFFORT)


def map_limits(images: Sequence[Shown]) -> tuple[float, float]:
    """One scale for all images, from some of their maps: a brighter one is a less certain image, not only a less certain place."""
    paths = [image.map for image in images if image.map is not None]
    some = [np.load(path, allow_pickle=False) for path in paths[:: max(1, len(paths) // MAPS_LOOKED_AT)]]
    values = np.concatenate([m[np.isfinite(m)].ravel().astype(np.float32) for m in some]) if some else np.zeros(1)
    low, high = np.percentile(values, [LOW, HIGH]) if len(values) else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-12))


def with_heat(picture: Image.Image, bad: np.ndarray, limits: tuple[float, float]) -> Image.Image:
    """bad: (H, W), high = unsure."""
    options = HeatmapOptions(opacity=OPACITY, scale=HeatmapScale.FIXED, low=limits[0], high=limits[1])
    pixels = torch.from_numpy(np.array(picture)).float()[None] / 255
    drawn = heatmap(torch.from_numpy(bad.astype(np.float32))[None, None], options, pixels)
    return Image.fromarray((drawn[0].clamp(0, 1) * 255).round().byte().numpy())
