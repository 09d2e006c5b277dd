"""The ComfyUI nodes, one family a file; each file ends with NODES = [...]."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from ..hosts.comfyui.review.routes import add_routes
from . import (
    bayesian,
    calibrate,
    combine,
    demo,
    ensemble,
    ensemble_training,
    estimate,
    filtering,
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
    filtering,
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
        add_routes()
        return [node for family in FAMILIES for node in family.NODES]
