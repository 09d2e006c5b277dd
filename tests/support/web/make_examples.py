"""Writes example_workflows/: each workflow as the front-end saves it, and a thumbnail of it after a run.

COMFYUI_PATH=~/comfy/ComfyUI COMFYUI_PYTHON=... python tests/support/web/make_examples.py [name ...]
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "support" / name) for name in ("comfyui", "web")]

from PIL import Image  # noqa: E402

from browser import Browser  # noqa: E402
from comfy_server import PACKS, Server  # noqa: E402
from examples import EXAMPLES, Sheet  # noqa: E402

TARGET = ROOT / "example_workflows"
GAP, TITLE, NOTE = 50, 30, (420, 330)
THUMBNAIL = (960, 540)
QUIET = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False, "Comfy.NodeBadge.NodeSourceBadgeMode": "None"}
QUIET |= {"Comfy.Graph.CanvasInfo": False, "Comfy.Workflow.ShowMissingModelsWarning": False}

ARRANGE = """
await app.loadApiJson(given.graph, given.name);
const byId = id => app.graph.getNodeById(id);
const note = LiteGraph.createNode("MarkdownNote");
app.graph.add(note);
note.widgets[0].value = given.note;
note.title = "Read me";
note.pos = [0, 0];
note.size = given.noteSize;
let x = 0;
for (const [place, column] of given.columns.entries()) {
    let y = place ? 0 : given.noteSize[1] + given.gap;
    let widest = place ? 0 : given.noteSize[0];
    for (const id of column) {
        const node = byId(id);
        const least = node.computeSize();
        const size = given.sizes[id] ?? [Math.max(least[0], 300), least[1]];
        node.size = [Math.max(size[0], least[0]), Math.max(size[1], least[1])];
        node.pos = [x, y];
        if (given.titles[id]) node.title = given.titles[id];
        y += node.size[1] + given.gap;
        widest = Math.max(widest, node.size[0]);
    }
    x += widest + given.gap;
}
for (const node of app.graph.nodes)
    for (const widget of node.widgets ?? [])
        if (widget.name === "control_after_generate") widget.value = "fixed";
app.graph.setDirtyCanvas(true, true);
"""
FIT = """
const boxes = app.graph.nodes.map(node => [node.pos[0], node.pos[1] - 30, node.pos[0] + node.size[0], node.pos[1] + node.size[1]]);
const [left, top] = [0, 1].map(i => Math.min(...boxes.map(box => box[i])) - 20);
const [right, bottom] = [2, 3].map(i => Math.max(...boxes.map(box => box[i])) + 20);
const scale = Math.min(given[2] / (right - left), given[3] / (bottom - top));
app.canvas.ds.scale = scale;
app.canvas.ds.offset[0] = given[0] / scale - left + (given[2] / scale - (right - left)) / 2;
app.canvas.ds.offset[1] = given[1] / scale - top + (given[3] / scale - (bottom - top)) / 2;
app.graph.setDirtyCanvas(true, true);
await new Promise(done => setTimeout(done, 1500));
"""
SHOWN = """
const shows = node => node.imgs?.length || node.widgets?.some(widget => widget.element?.querySelector?.("svg"));
return app.graph.nodes.filter(node => ["UQ_Report", "PreviewImage", "SaveImage"].includes(node.comfyClass)).every(shows);
"""


def arrange(page: Browser, name: str, sheet: Sheet) -> dict[str, Any]:
    """The workflow as Save writes it, without what differs from one run of this script to the next."""
    columns = [[int(node.id) for node in column] for column in sheet.columns]
    given = {"graph": sheet.graph, "name": name, "columns": columns, "note": sheet.note, "noteSize": NOTE, "gap": GAP + TITLE}
    page.run(ARRANGE, {**given, "sizes": sheet.sizes, "titles": sheet.titles})
    workflow = page.serialized()
    workflow["extra"] = {}
    for key in ("id", "revision"):
        workflow.pop(key, None)
    for node in workflow["nodes"]:
        for key in ("cnr_id", "aux_id", "ver"):
            node["properties"].pop(key, None)
        for slot in [*node.get("inputs", []), *node.get("outputs", [])]:
            slot.pop("localized_name", None)
    return workflow


def thumbnail(page: Browser, run: bool) -> Image.Image:
    """The whole graph, after a run where one is possible on a CPU."""
    left, top, width, height = 70, 160, 2300, 1294  # beside the menus
    page.driver.set_window_size(2460, 1700)
    page.run(FIT, [left, top, width, height])  # pictures are fetched by nodes in sight only
    if run:
        page.run("await app.queuePrompt(0);")
        page.wait_for(SHOWN, 240)
        page.run(FIT, [left, top, width, height])
    picture = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    return picture.crop((left, top, left + width, top + height)).resize(THUMBNAIL, Image.Resampling.LANCZOS)


def main(names: list[str]) -> None:
    TARGET.mkdir(exist_ok=True)
    packs = {"uncertainty-nodes": PACKS["uncertainty-nodes"]}
    with tempfile.TemporaryDirectory() as base, Server(Path(base), packs) as comfy:
        for key, value in QUIET.items():
            comfy.post(f"/settings/{key}", value)
        for name in names or EXAMPLES:
            with Browser(comfy.url) as page:
                workflow = arrange(page, name, EXAMPLES[name]())
                (TARGET / f"{name}.json").write_text(json.dumps(workflow, indent=1) + "\n", encoding="utf-8")
                thumbnail(page, "demo" in name).save(TARGET / f"{name}.jpg", quality=85)


if __name__ == "__main__":
    main(sys.argv[1:])
