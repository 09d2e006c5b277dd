"""The ComfyUI nodes, one family a file; each file ends with NODES = [...]."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io


class UncertaintyExtension(ComfyExtension):
    """What ComfyUI asks for the nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return []
