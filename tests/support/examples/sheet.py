"""A workflow as code: its nodes, where they stand, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from comfy_graph import Graph, Node

PICTURE, WIDE_PICTURE, SAMPLER = (300, 320), (420, 540), (300, 500)  # as high as they become with Vue nodes
HEATMAP, GUIDED_SAMPLER, GUIDER = (420, 640), (340, 1240), (340, 800)  # with the viewer, and with the pictures of a sweep
GROWN = {  # as large as their panels make them when they run
    "UQ_RecordUncertainty": (300, 430),
    "UQ_ReadUncertainty": (300, 262),
    "UQ_UncertaintyEstimator": (300, 494),
    "UQ_SampleFilter": (420, 942),
    "UQ_Report": (560, 550),
}


@dataclass
class Sheet:
    """One workflow. columns: its nodes from left to right, each a list from top to bottom."""

    note: str
    graph: Graph = field(default_factory=Graph)
    columns: list[list[Node]] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def node(self, class_type: str, /, title: str = "", size: tuple[int, int] | None = None, **inputs: Any) -> Node:
        node = self.graph.node(class_type, **inputs)
        if title:
            self.titles[node.id] = title
        if size := size or GROWN.get(class_type):
            self.sizes[node.id] = size
        return node

    def sampler(self, model: Any, positive: Any, negative: Any, latent: Any, title: str = "", **having: Any) -> Node:
        settings = {"seed": 1, "steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, **having}
        return self.node("KSampler", title, SAMPLER, model=model, positive=positive, negative=negative, latent_image=latent, **settings)

    def record(self, model: Any) -> Node:
        settings = {"samples": 5, "start_percent": 0.6, "end_percent": 0.75, "every": 1, "quantity": "denoised", "seed": 0}
        return self.node("UQ_RecordUncertainty", model=model, **settings)

    def filter(self, rule: str, value: float, **wires: Any) -> Node:
        return self.node("UQ_SampleFilter", rule=rule, value=value, extra_weight=0.5, **wires)

    def heatmap(self, uncertainty: Any, images: Any, percentile: float = 90.0) -> Node:
        settings = {"opacity": 0.6, "colormap": "inferno", "percentile": percentile}
        return self.node("UQ_Heatmap", size=HEATMAP, uncertainty=uncertainty, images=images, **settings)

    def report(self, uncertainty: Any, title: str = "", **wires: Any) -> Node:
        return self.node("UQ_Report", title, uncertainty=uncertainty, **wires)

    def preview(self, images: Any, title: str, size: tuple[int, int] = PICTURE) -> Node:
        return self.node("PreviewImage", title, size, images=images)

    def save(self, images: Any, title: str, prefix: str) -> Node:
        return self.node("SaveImage", title, WIDE_PICTURE, images=images, filename_prefix=prefix)
