"""What the heatmap viewer in the front-end is sent: pictures as files, maps as one file of levels, and numbers to read them by."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from torch import Tensor

from ....core.options import Direction, HeatmapOptions
from ....core.result import Uncertainty
from ....core.view.colormaps import color_words
from ....core.view.planes import MOST_PLANES, Plane, levels_as_bytes, pack_planes, spread_indexes
from .temporary import write_picture, write_temporary


def viewer_ui(
    uncertainty: Uncertainty,
    images: Tensor | None,
    options: HeatmapOptions,
    heat: Tensor,
    accepted: Collection[int] | None = None,
    other: Uncertainty | None = None,
    other_images: Tensor | None = None,
) -> dict[str, list[Any]]:
    """The ``ui`` of the node: the pictures it made, for App Mode and the history, and all that the viewer needs to draw them itself.

    heat: (N, H, W, 3), what the node gives out. other, other_images: what each image is compared with, by index.
    """
    view = {
        "main": side(uncertainty, images, options, accepted),
        "other": None if other is None and other_images is None else side(other, other_images, options, None),
        "settings": {"opacity": options.opacity, "colormap": options.colormap.value, "percentile": options.mask_percentile},
        "colours": color_words(),
    }
    return {"images": [write_picture(heat[i]) for i in spread_indexes(len(heat), MOST_PLANES)], "uq_heatmap": [view]}


def side(u: Uncertainty | None, images: Tensor | None, options: HeatmapOptions, accepted: Collection[int] | None) -> dict[str, Any]:
    """Of one batch. map: file, width and height of its planes, None without a result. pages: one for each picture, in order."""
    if u is None:
        pages = [{"index": i, "image": i, "picture": write_picture(images[i, ..., :3])} for i in spread_indexes(len(images), MOST_PLANES)]
        return {"map": None, "count": len(images), "pages": pages}
    maps = u.bad_maps.cpu()
    count = len(maps) * (maps.shape[2] if maps.ndim == 5 else 1) if images is None else len(images)
    each = count // len(maps)
    planes = pack_planes(maps, options, each if maps.ndim == 5 else None)
    height, width = planes[0].levels.shape
    file = write_temporary(".bin", lambda path: path.write_bytes(levels_as_bytes(planes)))
    scores = [score if math.isfinite(score) else None for score in u.scores.tolist()]
    pages = [page(plane, each, scores, accepted) for plane in planes]
    for entry in pages if images is not None else ():
        entry["picture"] = write_picture(images[entry["index"], ..., :3])
    sign = 1 if u.map_direction is Direction.HIGH_IS_BAD else -1
    return {"map": {"file": file, "width": width, "height": height}, "sign": sign, "quantity": u.quantity, "count": count, "pages": pages}


def page(plane: Plane, frames: int, scores: list[float | None], accepted: Collection[int] | None) -> dict[str, Any]:
    """index: of the picture; image: of the image or video that it belongs to."""
    image = plane.index // frames
    values = {"low": plane.low, "high": plane.high, "ends": list(plane.ends), "failed": plane.failed}
    verdict = None if accepted is None else image in accepted
    return {"index": plane.index, "image": image, "frame": plane.index % frames, "score": scores[image], "accepted": verdict, **values}
