"""What was usual in earlier runs, by the calibration that a node's scores are collected in or judged by: the band behind its live curve."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from comfy_execution.progress import get_progress_state

from ....core.selection.calibration import Calibration
from ....core.selection.step_scores import BAND, ENOUGH
from ..files import find

log = logging.getLogger(__name__)
KIND = "calibration"
COLLECTS, LOADS, READS, FILTERS = "UQ_Calibrate", "UQ_LoadCalibration", "UQ_ReadUncertainty", "UQ_SampleFilter"
Nodes = Mapping[str, Mapping[str, Any]]  # a prompt


@dataclass(frozen=True)
class Usual:
    """name: of the file."""

    name: str
    calibration: Calibration

    @property
    def shown(self) -> dict[str, Any]:
        steps = self.calibration.steps
        return {"name": self.name, "count": len(self.calibration) if steps is None else len(steps)}

    def band(self, sigma: float | None) -> tuple[float, float] | None:
        """Between which scores most earlier images were at a noise level; of finished ones where there is none. None: not known."""
        if sigma is not None:
            return None if self.calibration.steps is None else self.calibration.steps.band(sigma)
        if len(self.calibration) < ENOUGH:
            return None
        low, high = np.percentile(self.calibration.scores.numpy(), BAND)
        return float(low), float(high)


def find_usual(node: str, direction: str) -> Usual | None:
    """Of the node that runs with this id. None where its prompt names no calibration, or none that can be read and is of the same kind."""
    prompt = get_progress_state().dynprompt
    nodes = {each: prompt.get_node(each) for each in prompt.all_node_ids()}
    if (name := calibration_name(nodes, node)) is None:
        return None
    try:
        calibration = Calibration.load(find(KIND, name))
    except (OSError, ValueError) as error:
        log.debug("The live curve has no band: %s", error)  # Calibrate hasn't made the file yet
        return None
    return Usual(name, calibration) if calibration.direction == direction else None


def calibration_name(nodes: Nodes, start: str) -> str | None:
    """The file named by its own calibration, by a Calibrate that collects its scores, or by a filter that judges them."""
    if found := name_at(nodes, linked(nodes[start], "calibration")):
        return found
    reached = {start} | {each for each in nodes if nodes[each]["class_type"] == READS and linked(nodes[each], "record") == start}
    behind = [each for each in nodes if linked(nodes[each], "uncertainty") in reached]
    named = (each if nodes[each]["class_type"] == COLLECTS else linked(nodes[each], "calibration") for each in behind)
    return next(filter(None, (name_at(nodes, each) for each in named)), None)


def linked(node: Mapping[str, Any], name: str) -> str | None:
    """The id of the node that an input is linked to."""
    value = node["inputs"].get(name)
    return str(value[0]) if isinstance(value, list) and len(value) == 2 else None


def name_at(nodes: Nodes, node: str | None) -> str | None:
    """The name that a node of a calibration has; None for any other node, and where the name comes over a link."""
    entry = nodes.get(node or "")
    name = entry["inputs"].get("name") if entry and entry["class_type"] in (COLLECTS, LOADS) else None
    return name if isinstance(name, str) and name else None
