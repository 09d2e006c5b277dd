"""Where in each image its model is unsure, as small files beside the results, for the report: 2-D arrays, high where it is unsure."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from ...core.files import replacing
from ...core.result import Uncertainty
from ...core.view.heatmap import resize
from .ledger import NAMES

SIDE = 64  # at most: what a thumbnail shows
LONGEST = 200  # bytes of a file's name, which grows while it is written
PRECISION = 1e-3  # relative; what half precision keeps of values that it can hold


def small_maps(result: Uncertainty) -> list[np.ndarray | None]:
    """Of each image (H, W), high = unsure: the mean over channels, at most SIDE a side; None where the score has no map of the image."""
    if result.maps.ndim != 4:
        return [None] * len(result)
    maps = result.bad_maps.detach().float().cpu().mean(dim=1)
    shrink = max(1.0, max(maps.shape[1:]) / SIDE)
    height, width = (max(1, round(side / shrink)) for side in maps.shape[1:])
    return [in_few_bytes(each.numpy()) for each in torch.cat([resize(one[None], height, width) for one in maps])]  # not by neighbours


def in_few_bytes(values: np.ndarray) -> np.ndarray:
    """As half precision where that can hold them."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.allclose(half, values, rtol=PRECISION, atol=0, equal_nan=True) else values


def maps_folder(results: Path) -> Path:
    """results: of the JSON. One's own for a file that was named, since several may lie in a folder."""
    return results.with_name("maps" if results.name in NAMES else f"{results.stem}.maps")


def map_path(results: Path, name: str) -> Path:
    """name: of the image, as results have it; a code of it where it does not lie below their folder or is too long."""
    path = Path(name)
    if path.anchor or ".." in path.parts or any(len(part.encode("utf-8", "surrogateescape")) > LONGEST for part in path.parts):
        name = sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return maps_folder(results) / f"{name}.npy"


def write_map(results: Path, name: str, values: np.ndarray | None) -> None:
    if values is not None:
        with replacing(map_path(results, name)) as temporary, temporary.open("wb") as file:
            np.save(file, values, allow_pickle=False)


def remove_unfinished_maps(results: Path) -> None:
    """What a run that was killed while it wrote one left. For the only run that writes there."""
    for temporary in maps_folder(results).rglob(".*.tmp"):
        with suppress(OSError):
            temporary.unlink()
