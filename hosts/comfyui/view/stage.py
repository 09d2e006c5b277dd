"""What the stage inside of the guidance nodes is sent after a run: where its evaluations lay, the curve, and a map to outline."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch.nn.functional as F

from ....core.options import GuidanceOptions, HeatmapOptions
from ....core.view.colormaps import color_words
from ....core.view.planes import levels_as_bytes, pack_planes
from ..sampling.trace import Trace
from .live import Live
from .page import find_page
from .temporary import write_temporary

log = logging.getLogger(__name__)
MESSAGE = "uncertainty.guided"
KEY = "uq_stage"  # in what a node shows


def stage_of(trace: Trace) -> dict[str, Any]:
    """evaluations: [latest_start, earliest_end, plain, drawn] of each, as core.guidance.price has them. places: which were guided.

    curves: the scores of each image there. map: of the first image, None where nothing was guided. paper: the values of that preset.
    """
    places = sorted(trace.scores)
    curves = [[_number(float(trace.scores[place][image])) for place in places] for image in range(_images(trace))]
    evaluations = [[each.latest_start, each.earliest_end, each.plain, each.drawn] for each in trace.evaluations]
    return {"evaluations": evaluations, "places": places, "curves": curves, "map": _map(trace), "paper": _paper()}


class Stage:
    """The last run of one node. ``shown`` is part of its ``ui``: of a node that patches a model it is filled later, as that of ``Live``."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.run: dict[str, Any] = {"stage": None}

    @property
    def shown(self) -> dict[str, list[Any]]:
        return {KEY: [self.run]}

    def show(self, trace: Trace) -> None:
        self.run["stage"] = stage_of(trace)

    def tell(self, trace: Trace) -> None:
        """Also to the page that queued the run, where the sampling happens in another node."""
        self.show(trace)
        if page := find_page(self.live.node, self.live.kind):
            page.send(MESSAGE, self.run)


def _images(trace: Trace) -> int:
    return min((len(scores) for scores in trace.scores.values()), default=0)


def _map(trace: Trace) -> dict[str, Any] | None:
    if trace.total is None:
        return None
    middle = trace.total if trace.total.ndim == 4 else trace.total[:, :, trace.total.shape[2] // 2]
    smooth = F.avg_pool2d(middle, 3, stride=1, padding=1, count_include_pad=False)  # few draws leave grain that would hide the outline
    (plane,) = pack_planes(smooth, HeatmapOptions())
    height, width = plane.levels.shape
    try:
        file = write_temporary(".bin", lambda path: path.write_bytes(levels_as_bytes([plane])))
    except OSError as error:  # a run must not fail because a page shows less
        log.warning("The stage of guidance shows no map: %s", error)
        return None
    values = {"low": plane.low, "high": plane.high, "ends": list(plane.ends), "failed": plane.failed}
    return {"file": file, "width": width, "height": height, "colours": color_words()["inferno"], **values}


def _paper() -> dict[str, Any]:
    o = GuidanceOptions.paper()
    window = {"start_percent": o.window.start, "end_percent": o.window.end}
    return {"strength": o.strength, "percentile": o.percentile, "samples": o.draws.samples, "mode": o.mode.value, **window}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
