"""Writes example_workflows/: each workflow as the front-end saves it, and a thumbnail of it after a run.

COMFYUI_PATH=~/comfy/ComfyUI COMFYUI_PYTHON=... python tests/support/examples/make_examples.py [name ...]
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "support" / name) for name in ("comfyui", "web", "examples")]

from PIL import Image, ImageOps  # noqa: E402

from browser import Browser  # noqa: E402
from comfy_server import PACKS, Server  # noqa: E402
from examples import EXAMPLES, NEEDED_FIRST, Sheet  # noqa: E402

AS_BROWSER = {"extra_pnginfo": {"workflow": {"nodes": []}}}  # else no score is written into the files
TARGET = ROOT / "example_workflows"
MADE_WITH = "0.33.0"  # the ComfyUI whose heights of nodes the files have
GAP, TITLE, NOTE = 50, 30, (420, 330)
THUMBNAIL = (960, 540)
SCREEN = [70, 160, 2300, 1294]  # left, top, width and height of what lies beside the menus
QUIET = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False, "Comfy.NodeBadge.NodeSourceBadgeMode": "None"}
QUIET |= {"Comfy.Graph.CanvasInfo": False, "Comfy.Workflow.ShowMissingModelsWarning": False}
QUIET |= {"Comfy.RightSidePanel.ShowErrorsTab": False}  # else models that are not here are ringed in red

OPEN = """
await app.loadApiJson(given.graph, given.name);
const note = LiteGraph.createNode("MarkdownNote");
app.graph.add(note);
note.widgets[0].value = given.note;
note.title = "Read me";
note.size = given.noteSize;
for (const [id, title] of Object.entries(given.titles)) app.graph.getNodeById(id).title = title;
for (const [id, size] of Object.entries(given.sizes)) app.graph.getNodeById(id).size = size;
for (const node of app.graph.nodes)
    for (const widget of node.widgets ?? [])
        if (widget.name === "control_after_generate") widget.value = "fixed";
"""
ARRANGE = """
const note = app.graph.nodes.find(node => node.type === "MarkdownNote");
note.pos = [0, 0];
let x = 0;
for (const [index, column] of given.columns.entries()) {
    let y = index ? 0 : given.noteSize[1] + given.gap;
    let widest = index ? 0 : given.noteSize[0];
    for (const id of column) {
        const node = app.graph.getNodeById(id);
        const least = node.computeSize();
        node.size = [Math.max(node.size[0], least[0], 300), Math.max(node.size[1], least[1])];
        node.pos = [x, y];
        y += node.size[1] + given.gap;
        widest = Math.max(widest, node.size[0]);
    }
    x += widest + given.gap;
}
app.graph.setDirtyCanvas(true, true);
return Object.fromEntries(app.graph.nodes.map(node => [node.id, [[...node.pos], [...node.size]]]));
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


def picture_of(page: Browser, name: str, sheet: Sheet) -> tuple[dict[str, Any], Image.Image]:
    """The workflow as Save writes it, and the whole graph after a run where one is possible on a CPU.

    The nodes stand as they must after the run, when panels and pictures have made them grow. Of a workflow that asks a person the picture
    is what the person sees.
    """
    picture = None
    columns = [[int(node.id) for node in column] for column in sheet.columns]
    layout = {"columns": columns, "noteSize": NOTE, "gap": GAP + TITLE}
    page.driver.set_window_size(2460, 1700)
    page.run(OPEN, {**layout, "graph": sheet.graph, "name": name, "note": sheet.note, "sizes": sheet.sizes, "titles": sheet.titles})
    boxes = page.run(ARRANGE, layout)
    workflow = page.serialized()
    page.run(FIT, SCREEN)  # pictures are fetched by nodes in sight only
    if "demo" in name:
        page.run("await app.queuePrompt(0);")
        if any(node["inputs"].get("borderline") == "review" for node in sheet.graph.values()):
            picture = answered(page)
        page.wait_for(SHOWN, 600)
        boxes = page.run(ARRANGE, layout)
        page.run(FIT, SCREEN)
    for node in workflow["nodes"]:
        node["pos"], node["size"] = boxes[str(node["id"])]
    return tidied(workflow), picture or screenshot(page)


def answered(page: Browser) -> Image.Image:
    """The review that the run waits for, which is then done."""
    page.wait_for("return document.querySelector('dialog.uq-review .uq-card');", 240)
    page.driver.set_window_size(1440, 810 + page.run("return outerHeight - innerHeight;"))
    page.run("await new Promise(done => setTimeout(done, 1500));")
    picture = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    page.run("document.querySelector('dialog.uq-review .uq-primary').click();")
    page.driver.set_window_size(2460, 1700)
    return ImageOps.fit(picture, THUMBNAIL, Image.Resampling.LANCZOS)


def tidied(workflow: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from one run of this script to the next, and what older front-ends don't know."""
    workflow["extra"] = {}
    for key in ("id", "revision"):
        workflow.pop(key, None)
    for node in workflow["nodes"]:
        node.pop("widgets_values_named", None)
        if node["type"] in ("PreviewImage", "SaveImage"):
            node["outputs"] = []  # newer versions pass the images on; none of the examples uses that
        for key in ("cnr_id", "aux_id", "ver"):
            node["properties"].pop(key, None)
        for slot in [*node.get("inputs", []), *node.get("outputs", [])]:
            slot.pop("localized_name", None)
    return workflow


def screenshot(page: Browser) -> Image.Image:
    left, top, width, height = SCREEN
    picture = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    return picture.crop((left, top, left + width, top + height)).resize(THUMBNAIL, Image.Resampling.LANCZOS)


def main(names: list[str]) -> None:
    TARGET.mkdir(exist_ok=True)
    packs = {"uncertainty-nodes": PACKS["uncertainty-nodes"]}
    with tempfile.TemporaryDirectory() as base, Server(Path(base), packs) as comfy:
        comfy.post("/settings", QUIET)
        for name in names or EXAMPLES:
            if name in NEEDED_FIRST:
                comfy.run(EXAMPLES[NEEDED_FIRST[name]]().graph, timeout=600, extra_data=AS_BROWSER)
            with Browser(comfy.url) as page:  # a new one, since panels compare with what they have shown before
                workflow, picture = picture_of(page, name, EXAMPLES[name]())
                (TARGET / f"{name}.json").write_text(json.dumps(workflow, indent=1) + "\n", encoding="utf-8")
                picture.save(TARGET / f"{name}.jpg", quality=85)


if __name__ == "__main__":
    main(sys.argv[1:])
