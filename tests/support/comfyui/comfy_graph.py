"""Prompts in API format, written as code: ``g = Graph(); model = g.node("UNETLoader", unet_name=..., weight_dtype="default")``."""

from __future__ import annotations

import json
from typing import Any


class Node:
    """A node of a graph. As an input it stands for its first output; ``node[1]`` is the second."""

    def __init__(self, id: str) -> None:
        self.id = id

    def __getitem__(self, output: int) -> list[Any]:
        return [self.id, output]

    def __str__(self) -> str:
        return self.id


class Graph(dict[str, dict[str, Any]]):
    """A prompt for ``Server.run``."""

    def node(self, class_type: str, /, **inputs: Any) -> Node:
        """Adds a node. Inputs are values, nodes, or outputs of nodes; None means not connected."""
        node = Node(str(len(self) + 1))
        links = {name: value[0] if isinstance(value, Node) else value for name, value in inputs.items() if value is not None}
        self[node.id] = {"class_type": class_type, "inputs": links}
        return node

    def fold(self, since: int, result: list[Any]) -> Node:
        """Take the nodes from the one with number ``since`` + 1 on out of the graph: a single node makes them while it runs."""
        inner = {id: self.pop(id) for id in list(self)[since:]}
        outer: list[list[Any]] = []

        def link(value: Any) -> Any:
            if not isinstance(value, list) or value[0] in inner:
                return value
            if value not in outer:
                outer.append(value)
            return ["wire", outer.index(value)]

        for node in inner.values():
            node["inputs"] = {name: link(value) for name, value in node["inputs"].items()}
        wires = {f"wire_{k}": value for k, value in enumerate(outer)}
        return self.node("UQTest_ExpandNodes", nodes=json.dumps(inner), result=result[0], output=result[1], **wires)
