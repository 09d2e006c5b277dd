"""The ComfyUI nodes, one family a file; each file ends with NODES = [...]."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import (
    bayesian,
    calibrate,
    combine,
    demo,
    ensemble,
    ensemble_training,
    estimate,
    filter,
    guide,
    information,
    laplace,
    search,
    sweep,
    view,
)

FAMILIES = [
    estimate,
    information,
    guide,
    sweep,
    filter,
    search,
    calibrate,
    combine,
    laplace,
    bayesian,
    ensemble,
    ensemble_training,
    view,
    demo,
]


class UncertaintyExtension(ComfyExtension):
    """What ComfyUI asks for the nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [node for family in FAMILIES for node in family.NODES]
