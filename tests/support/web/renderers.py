"""ComfyUI's page with one of its two renderers of nodes: the canvas, or Vue nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from browser import Browser
from comfy_server import Server

RENDERERS = ("canvas", "vue")
VUE = "Comfy.VueNodes.Enabled"
RENDERER = "return (document.querySelector('[data-node-id]') ? 'vue' : 'canvas');"
PROBE = {"1": {"class_type": "UQ_SweepValues", "inputs": {"values": "0", "name": "probe"}}}
# Early front-ends give a prompt's nodes what those of the workflow before, with the same ids, have shown.
OPEN = """
if (!given.keep) app.nodeOutputs = {};
app.canvas.setGraph(app.graph.rootGraph ?? app.graph); // out of a subgraph
await app.loadApiJson(given.graph, given.name);
await new Promise(done => setTimeout(done, 400));
"""
# A node at a given scale, in the middle of what is seen.
LOOK = """
const node = (app.canvas.graph ?? app.graph).nodes.find(node => node.comfyClass === given.node);
const view = app.canvas.ds;
view.scale = given.scale;
view.offset[0] = 700 / given.scale - node.pos[0] - node.size[0] / 2;
view.offset[1] = 500 / given.scale - node.pos[1] - node.size[1] / 2;
app.canvas.setDirty(true, true);
await new Promise(done => setTimeout(done, 600));
"""
INTO_SUBGRAPH = """
const node = app.graph.nodes.find(node => node.comfyClass === given);
const made = app.graph.convertToSubgraph(new Set([node]));
await new Promise(done => setTimeout(done, 300));
return String(made.node.id);
"""
ENTER = """
const outer = app.graph.nodes.find(node => node.subgraph);
app.canvas.openSubgraph ? app.canvas.openSubgraph(outer.subgraph, outer) : app.canvas.setGraph(outer.subgraph);
await new Promise(done => setTimeout(done, 800));
"""


@contextmanager
def opened(comfy: Server, renderer: str) -> Iterator[Browser]:
    """A page with that renderer; the test is skipped where the front-end has none of that kind."""
    comfy.post("/settings", {"Comfy.TutorialCompleted": True, VUE: renderer == "vue"})
    try:
        with Browser(comfy.url) as page:
            open_graph(page, PROBE, "probe")
            if page.run(RENDERER) != renderer:
                pytest.skip(f"this front-end has no renderer {renderer}")
            yield page
    finally:
        comfy.post("/settings", {VUE: False})


def open_graph(page: Browser, graph: Any, name: str, keep: bool = False) -> None:
    """A graph in API format as a workflow of that name, under which the front-end remembers what ran.

    keep: the workflow that was open is come back to, with what its nodes have shown.
    """
    page.run(OPEN, {"graph": graph, "name": name, "keep": keep})


def queue(page: Browser) -> None:
    page.run("await app.queuePrompt(0);")


def look_at(page: Browser, node: str, scale: float = 1.0) -> None:
    page.run(LOOK, {"node": node, "scale": scale})
