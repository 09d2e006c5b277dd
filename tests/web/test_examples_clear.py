"""The example workflows in both renderers after a run: no node stands on another, whatever its pictures and panels have grown to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from browser import Browser, why_not
from comfy_server import Server
from examples import NEEDED_FIRST
from renderers import RENDERERS, opened

EXAMPLES = sorted((Path(__file__).parents[2] / "example_workflows").glob("*_demo_*.json"))
REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

# All of a graph in sight, since pictures are fetched by nodes in sight only.
FIT = """
const boxes = app.graph.nodes.map(node => [...node.pos, node.pos[0] + node.size[0], node.pos[1] + node.size[1]]);
const [left, top, right, bottom] = [0, 1, 2, 3].map(i => Math[i < 2 ? "min" : "max"](...boxes.map(box => box[i])));
const view = app.canvas.ds;
view.scale = Math.min(1400 / (right - left), 760 / (bottom - top + 60));
view.offset[0] = 100 / view.scale - left;
view.offset[1] = 120 / view.scale - top;
app.canvas.setDirty(true, true);
await new Promise(done => setTimeout(done, 500));
"""
RUN = """
const { api } = await import("/scripts/api.js");
window.ended = null;
for (const type of ["execution_success", "execution_error", "execution_interrupted"])
    api.addEventListener(type, () => { window.ended ??= type; }, { once: true });
await app.queuePrompt(0);
"""
DONE = """
document.querySelector("dialog.uq-review .uq-primary")?.click();
return window.ended;
"""
# Pairs of nodes that overlap, by what is seen of them, in units of the graph.
OVERLAPS = """
await new Promise(done => setTimeout(done, 2000));
const TITLE = 30, scale = app.canvas.ds.scale;
const boxes = app.graph.nodes.map(node => {
  const drawn = document.querySelector(`[data-node-id="${node.id}"]`)?.getBoundingClientRect();
  const own = { x: node.pos[0], y: node.pos[1] - TITLE, width: node.size[0], height: node.size[1] + TITLE };
  const [{ x, y, width, height }, unit] = drawn ? [drawn, scale] : [own, 1];
  return { name: `${node.title} (${node.id})`, left: x / unit, top: y / unit, right: (x + width) / unit, bottom: (y + height) / unit };
});
const shared = (a, b, from, to) => Math.min(a[to], b[to]) - Math.max(a[from], b[from]);
const cross = (a, b) => Math.round(Math.min(shared(a, b, "left", "right"), shared(a, b, "top", "bottom")));
return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => cross(a, b) > 0).map(b => `${a.name} and ${b.name} by ${cross(a, b)}`));
"""


@pytest.fixture(scope="module")
def pages(comfy: Server) -> Iterator[list[Browser]]:
    """One page of each renderer, so that what one has run is cached for the other."""
    with ExitStack() as stack:
        yield [stack.enter_context(opened(comfy, renderer)) for renderer in RENDERERS]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_no_node_stands_on_another_after_a_run(pages: list[Browser], path: Path) -> None:
    if path.stem in NEEDED_FIRST:
        run(pages[0], path.with_stem(NEEDED_FIRST[path.stem]))
    for page in pages:
        run(page, path)
        assert page.run(OVERLAPS) == []


def run(page: Browser, path: Path) -> None:
    page.load(json.loads(path.read_text()))
    page.run(FIT)
    page.run(RUN)
    assert page.wait_for(DONE, 300) == "execution_success"
