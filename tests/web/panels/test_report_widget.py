"""What Report and Sample Filter draw inside the node, in ComfyUI's own front-end."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from browser import Browser, why_not
from comfy_graph import Graph
from comfy_server import Server
from uncertainty_nodes.hosts.comfyui.view.chart import draw_report
from uncertainty_nodes.hosts.comfyui.view.chart_words import words_in

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

DRAWN = """
const node = app.graph.nodes.find(node => node.comfyClass === given);
const element = node.widgets?.find(widget => widget.name === "uncertainty_report")?.element;
if (!element?.childElementCount) return null;
const count = selector => element.querySelectorAll(selector).length;
return { text: element.textContent, curves: count("polyline"), dropped: count("polyline.uq-dropped"), lines: count(".uq-mark"),
  bars: count("rect"), rows: count("tbody tr"), hint: element.querySelector("polyline title")?.textContent,
  pictures: node.imgs?.length ?? 0, shown: element.isConnected ? 1 : 0,
  seen: [...document.querySelectorAll(`[data-node-id="${node.id}"] img`)].filter(i => i.offsetParent).length };
"""
NUMBERS = count()
VUE = "Comfy.VueNodes.Enabled"
RENDERER = "return (document.querySelector('[data-node-id]') ? 'vue' : 'canvas');"


@pytest.fixture(scope="module", params=["canvas", "vue"])
def page(comfy: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    comfy.post("/settings", {"Comfy.TutorialCompleted": True, VUE: request.param == "vue"})
    try:
        with Browser(comfy.url) as page:
            page.run(
                "await app.loadApiJson(given, 'renderer'); await new Promise(done => setTimeout(done, 500));", filtered("0.1,0.2", 1.0)
            )
            if page.run(RENDERER) != request.param:
                pytest.skip(f"this front-end has no renderer {request.param}")
            yield page
    finally:
        comfy.post("/settings", {VUE: False})


SPEAK = "await app.extensionManager.setting.set('Comfy.Locale', given); await new Promise(done => setTimeout(done, 500));"
REPORT = "const node = app.graph.nodes.find(n => n.comfyClass === 'UQ_Report'); const box = node.widgets[0].element;"


def filtered(scores: str, value: float) -> Graph:
    g = Graph()
    scored = g.node("UQTest_Uncertainty", scores=scores, direction="high_is_bad", frames=0, salt=31)
    kept = g.node("UQ_SampleFilter", uncertainty=scored, rule="keep_best_count", value=value)
    g.node("UQ_Report", uncertainty=scored, accepted_indexes=kept[6])
    return g


def drawn(page: Browser, graph: Graph, *nodes: str) -> list[dict[str, Any]]:
    """What the nodes show once the graph has run."""
    name = f"report {next(NUMBERS)}"  # else the front-end remembers what ran under the name before
    page.run(f"await app.loadApiJson(given, '{name}'); await app.queuePrompt(0);", graph)
    for node in nodes:
        page.wait_for(f"const given = '{node}'; {DRAWN}")
    page.run("await new Promise(done => setTimeout(done, 700));")  # a picture beside the drawing would come a little later
    return [page.run(DRAWN, node) for node in nodes]


def test_scores_curve_and_line_are_drawn(page: Browser) -> None:
    page.errors()
    (report,) = drawn(page, filtered("0.4,0.1,0.3,0.2", 3.0), "UQ_Report")
    assert (report["curves"], report["dropped"], report["lines"], report["rows"]) == (4, 1, 1, 4)
    assert "4 images | 5 model calls per image" in report["text"] and "accepted: 3" in report["text"]
    assert report["hint"] == "image 0: 0.4"
    assert page.errors() == []


def test_a_cached_result_is_drawn_the_same(page: Browser) -> None:
    first, again = (drawn(page, filtered("0.5,0.1,0.3", 1.0), "UQ_Report") for _ in range(2))
    assert first == again
    charts = first[0]["shown"] + first[0]["seen"]  # the first Vue nodes show no widget that is added later, and the picture alone
    assert (first[0]["pictures"], charts) == (0, 1)


def test_a_workflow_that_is_opened_again_shows_its_chart_once(page: Browser) -> None:
    drawn(page, filtered("0.7,0.1,0.3", 1.0), "UQ_Report")
    workflow = page.serialized() | {"id": str(uuid4())}  # what came from a prompt has none, and nothing is remembered of it
    page.load(workflow)
    page.run("await app.queuePrompt(0);")
    before = page.wait_for(f"const given = 'UQ_Report'; {DRAWN}")
    page.load(workflow | {"id": str(uuid4()), "nodes": [], "links": []})
    page.load(workflow)
    after = page.wait_for(f"const given = 'UQ_Report'; {DRAWN}")
    assert {**after, "shown": 1} == {**before, "shown": 1}
    page.run("await new Promise(done => setTimeout(done, 700));")  # a picture beside the drawing would come a little later
    after = page.run(DRAWN, "UQ_Report")
    assert (after["pictures"], after["shown"], after["seen"]) == (0, 1, 0)


def test_the_links_end_at_the_inputs(page: Browser) -> None:
    """A widget with the name of an input would draw that input's link to itself."""
    drawn(page, filtered("0.8,0.1,0.3,0.2", 2.0), "UQ_Report")
    names = page.run("return app.graph.nodes.flatMap(n => n.inputs.map(i => n.widgets?.find(w => w.name === i.name && w.element)?.name));")
    assert not any(names)


def test_the_drawing_is_no_part_of_the_workflow(page: Browser) -> None:
    drawn(page, filtered("0.4,0.1,0.3,0.2", 2.0), "UQ_Report")
    values = {node["type"]: node.get("widgets_values") for node in page.serialized()["nodes"]}
    assert values["UQ_SampleFilter"] == ["keep_best_count", 2, 0.5, 95, "by_rule", 15, 0, "by_rule"]
    assert not values["UQ_Report"]
    assert all("uncertainty" not in node["inputs"] or isinstance(node["inputs"]["uncertainty"], list) for node in page.prompt().values())


def test_scores_that_are_no_numbers_are_drawn_as_far_as_they_can(page: Browser) -> None:
    page.errors()
    (report,) = drawn(page, filtered("nan,0.1,0.3", 3.0), "UQ_Report")
    assert report["rows"] == 3 and "not a number" in report["text"]
    assert "Image 1 of 3 failed: the model gave values that are not finite (NaN)." in report["text"]
    assert page.errors() == []


def test_a_heading_sorts_and_a_row_lights_its_curve_and_back(page: Browser) -> None:
    drawn(page, filtered("0.4,0.1,0.3,0.2", 3.0), "UQ_Report")
    order = REPORT + "return [...box.querySelectorAll('tbody tr')].map(row => Number(row.dataset.image));"
    assert page.run(order) == [1, 3, 2, 0]
    click = REPORT + "box.querySelectorAll('th button')[given].click();"
    page.run(click, 0)
    assert page.run(order) == [0, 1, 2, 3]
    page.run(click, 1)
    page.run(click, 1)
    assert page.run(order) == [0, 2, 3, 1]
    lit = REPORT + "return [...box.querySelectorAll('.uq-on')].map(mark => [mark.localName, mark.dataset.image]);"
    page.run(REPORT + "box.querySelector('tr[data-image=\"2\"]').focus();")
    assert page.run(lit) == [["polyline", "2"], ["tr", "2"]]
    page.run(REPORT + "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown', bubbles: true }));")
    assert page.run(lit) == [["polyline", "3"], ["tr", "3"]]
    page.run(REPORT + "document.activeElement.blur();")
    assert page.run(lit) == []
    point = """const line = box.querySelector("polyline[data-image='1']"), chart = line.closest("svg");
    const frame = chart.getBoundingClientRect();
    const end = line.points[line.points.length - 1], scale = frame.width / chart.viewBox.baseVal.width;
    const at = { clientX: frame.x + end.x * scale, clientY: frame.y + end.y * scale };
    chart.dispatchEvent(new PointerEvent("pointermove", at));"""
    page.run(REPORT + point)
    assert page.run(lit) == [["polyline", "1"], ["tr", "1"]]


def test_the_table_shows_pictures_and_is_copied(page: Browser) -> None:
    graph = filtered("0.4,0.1", 1.0)
    picture = graph.node("EmptyImage", width=300, height=100, batch_size=2, color=255)
    next(node for node in graph.values() if node["class_type"] == "UQ_Report")["inputs"]["images"] = [picture.id, 0]
    drawn(page, graph, "UQ_Report")
    page.wait_for(REPORT + "return [...box.querySelectorAll('img')].filter(i => i.naturalWidth === 128 && i.alt).length === 2;")
    copied = """let text; const clipboard = { writeText: async given => { text = given; } };
    Object.defineProperty(navigator, "clipboard", { configurable: true, value: clipboard });
    box.querySelector(".uq-push").click(); return text;"""
    assert page.run(REPORT + copied) == "image,score,rank,accepted\n0,0.4000000059604645,2,no\n1,0.10000000149011612,1,yes\n"


@pytest.mark.parametrize("language", ["zh", "zh-TW", "en"])
def test_the_picture_of_the_server_is_in_the_language_of_the_page(page: Browser, comfy: Server, language: str) -> None:
    graph = filtered("0.4,nan,0.3,0.2", 3.0)
    report = next(name for name, node in graph.items() if node["class_type"] == "UQ_Report")
    try:
        page.run(SPEAK, language)
        drawn(page, graph, "UQ_Report")
        assert page.prompt()[report]["inputs"].get("uncertainty_report") == ("zh" if language != "en" else None)
    finally:
        page.run(SPEAK, "en")
    shown = newest(comfy)[report]
    picture = Image.open(io.BytesIO(comfy.fetch_output(shown["images"][0])))
    assert picture.tobytes() == draw_report(shown["uq_report"][0], words_in(language[:2])).tobytes()


def newest(comfy: Server) -> dict[str, Any]:
    """What the nodes of the last prompt have shown."""
    return list(comfy.get("/history").values())[-1]["outputs"]
