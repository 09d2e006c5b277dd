"""300 hostile texts in place of every name, title, prompt or file name that a panel of ours may show: they stay texts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from all_panels import SAMPLER, graph, panel, run_all
from browser import Browser, why_not
from comfy_server import Server
from renderers import RENDERERS, look_at, opened

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

PIECES = [
    "<img src=x onerror=window.hit=1>",
    "<script>window.hit=1</script>",
    '"><svg onload=window.hit=1>',
    "' onmouseover='window.hit=1",
    "</svg><iframe srcdoc='<script>top.hit=1</script>'>",
    "</dialog><b>",
    "<style>*{display:none}</style>",
    "<a href=javascript:window.hit=1>",
    "javascript:window.hit=1",
    'url("x");}*{display:none}',
    "{{7*7}}",
    "${window.hit=1}",
    "{image}",
    "{node}",
    "&lt;b&gt;",
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "%2e%2e%2f",
    "\u202eabc",
    "\u0000",
    "𝒜🏳️‍🌈",
    "不确定",
    "x" * 400,
    "__proto__",
]
DRAW = random.Random(7)
TEXTS = [" ".join(DRAW.choices(PIECES, k=DRAW.randint(1, 4))) for _ in range(300)]

# What a node really sent, with the text in place of each string; only those that are named stay as they are. It names no workflow, as what
# came over the API, since the other page's run would be asked for first.
LIKE = """
const like = (value, text, keep, key) => {
  if (typeof value === "string") return keep.includes(key) ? value : text;
  if (Array.isArray(value)) return value.map(each => like(each, text, keep, key));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, like(each, text, keep, name)]));
};
const node = root && app.graph.nodes.find(node => node.widgets?.some(widget => widget.element === root()));
const isShown = (name) => name.startsWith("uq_") && name !== "uq_workflow";
const sent = node && Object.fromEntries(Object.entries(window.sent[node.id]).filter(([name]) => isShown(name)));
const send = (text, keep = []) => node.onExecuted(like(structuredClone(sent), text, ["uq_kind", "kind", ...keep]));
const until = async test => { for (let i = 0; i < 400 && !test(); i += 1) await new Promise(done => setTimeout(done, 5)); };
"""
# The page has the same elements with the same attributes whatever the text is, and the text is there letter by letter.
CHECK = """
const root = () => ROOT;
LIKE
const show = async text => { SHOW };
const shape = () => [...root().querySelectorAll("*")].map(e => [e.localName, ...e.getAttributeNames().sort()].join(" ")).join("\\n");
await show("harmless");
const plain = shape();
for (const text of given) {
  await show(text);
  if (shape() !== plain) return `other elements than with a harmless text: ${text}\\n${plain}\\n\\n${shape()}`;
  if (WHERE && !root().querySelector(WHERE)?.textContent.includes(text)) return `not shown as it is: ${text}`;
}
await new Promise(done => setTimeout(done, 300));
return window.hit ? "a script ran" : "";
"""
FILES = ["filename", "subfolder", "type", "colormap", "direction"]
POINT = """
await until(() => root().querySelector(".uq-pane") && !root().querySelector("[aria-busy]"));
const pane = root().querySelector(".uq-pane"), { x, y, width, height } = pane.getBoundingClientRect();
pane.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX: x + width / 2, clientY: y + height / 2 }));
"""
REFUSED = """
const { api } = await import("/scripts/api.js");
const queue = api.queuePrompt;
api.queuePrompt = async () => { throw new Error(text); };
root().querySelector(".uq-button").click();
await until(() => root().querySelector(".uq-trouble").textContent.includes(text));
api.queuePrompt = queue;
"""
REVIEW = """
const { api } = await import("/scripts/api.js");
const id = `${Math.random()}`, of = app.graph.nodes[0];
of.title = text;
const picture = { filename: text, subfolder: text, type: text, width: 300, height: 300 };
const images = [0, 1].map(index => ({ index, score: 0.1, rank: 1, accepted: true, heatmap: picture, picture }));
const told = { quantity: text, direction: text, unanswered: text, scores: [0.1, 0.2], line: 0.15, accepted: [0], seconds: 0 };
const tell = (type, detail) => api.dispatchEvent(new CustomEvent(type, { detail }));
const before = root()?.id;
if (before) tell("uncertainty.review.end", { id: before });
tell("uncertainty.review", { id, node: of.id, images, ...told });
root().id = id;
"""
PAINTED = "await until(() => root().querySelector('.uq-head > span').textContent.includes(text));"
NONE, DIALOG = "null", "document.querySelector('dialog.uq-review')"
SURFACES = {  # the element, how the text comes there, and where it is read
    "report": (panel("UQ_Report", "uncertainty_report"), "send(text);", "'p'"),
    "filter": (panel("UQ_SampleFilter", "uncertainty_filter"), "send(text, ['rule', 'direction']);", "'figcaption'"),
    "heatmap": (panel("UQ_Heatmap", "uncertainty_viewer"), f"send(text, {FILES}); {POINT}", "'.uq-readout'"),
    "curve": (panel(SAMPLER, "uncertainty_curve"), f"send(text); {PAINTED}", "'.uq-head > span'"),
    "stage": (panel(SAMPLER, "uncertainty_stage"), "send(text);", NONE),
    "refused sweep": (panel(SAMPLER, "uncertainty_stage"), REFUSED, "'.uq-trouble'"),
    "review": (DIALOG, REVIEW, "'.uq-words p'"),
}


def sent(comfy: Server) -> dict[str, Any]:
    """What the nodes of the graph have shown, in whichever run: early servers don't tell again what they have cached."""
    classes = {id: node["class_type"] for id, node in graph().items()}
    shown: dict[str, Any] = {}
    for entry in comfy.get("/history").values():
        if {id: node["class_type"] for id, node in entry["prompt"][2].items()} == classes:
            shown |= entry["outputs"]
    return shown


@pytest.fixture(scope="module", params=RENDERERS)
def page(comfy: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    with opened(comfy, request.param) as page:
        run_all(page)
        page.run("window.sent = given;", sent(comfy))
        yield page


@pytest.mark.parametrize("surface", SURFACES)
def test_300_hostile_texts_are_shown_as_texts(page: Browser, surface: str) -> None:
    root, show, where = SURFACES[surface]
    if surface != "review":
        look_at(page, "UQ_" + root.split("UQ_")[1].split("'")[0], 0.6)
    script = CHECK.replace("LIKE", LIKE).replace("ROOT", root).replace("SHOW", show).replace("WHERE", where)
    if surface == "review":
        script = script.replace("node = root &&", "node = null &&")
    try:
        for start in range(0, len(TEXTS), 50):  # a script has its time
            assert page.run(script, TEXTS[start : start + 50]) == ""
    finally:
        page.run(f"{DIALOG}?.dispatchEvent(new KeyboardEvent('keydown', {{ key: 'Escape' }}));")
        page.errors()  # pictures of such names are not found
