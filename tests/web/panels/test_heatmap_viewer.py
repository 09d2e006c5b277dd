"""The viewer inside Uncertainty Heatmap, in ComfyUI's own front-end and both of its renderers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from browser import Browser, why_not
from comfy_graph import Graph
from comfy_server import Server
from renderers import ENTER, INTO_SUBGRAPH, RENDERERS, look_at, open_graph, opened, queue

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")
HEATMAP = "UQ_Heatmap"
NUMBERS = count()

NODE = "const nodes = g => g.nodes.flatMap(n => n.subgraph ? [n, ...nodes(n.subgraph)] : [n]);"
NODE += " const node = nodes(app.graph).find(n => n.comfyClass === 'UQ_Heatmap');"
NODE += " const element = node?.widgets.find(w => w.name === 'uncertainty_viewer')?.element;"
SHOWN = (
    NODE
    + """
const panes = [...(element?.querySelectorAll(".uq-pane") ?? [])];
if (!panes.length || element.querySelector("[aria-busy]") || !panes[0].getBoundingClientRect().width) return null;
const text = selector => element.querySelector(selector)?.textContent;
return { panes: panes.map(p => [!!p.querySelector("img"), !!p.querySelector("canvas"), p.querySelector(".uq-name").textContent]),
  page: text(".uq-page"), outline: panes.map(p => p.querySelector(".uq-outline").getAttribute("d").length),
  fade: panes.map(p => p.querySelector("canvas").style.opacity), kinds: [...element.querySelectorAll("option")].map(o => o.value),
  sliders: [...element.querySelectorAll("input")].map(i => Number(i.value)),
  values: panes.map(p => p.querySelector(".uq-value").textContent),
  pictures: node.imgs?.length ?? 0 };
"""
)
SLIDE = NODE + "const input = element.querySelectorAll('input')[given[0]]; input.value = given[1]; input.dispatchEvent(new Event('input'));"
SLIDE += " return node.widgets.map(w => w.value);"
TYPE = NODE + "const w = node.widgets.find(w => w.name === given[0]); w.value = given[1]; w.callback?.(w.value, app.canvas, node);"
POINT = (
    NODE
    + """
const pane = element.querySelector(".uq-pane");
const { x, y, width, height } = pane.getBoundingClientRect();
const side = Math.min(width, height);
const [clientX, clientY] = [x + width / 2 + side * (given[0] - 0.5), y + height / 2 + side * (given[1] - 0.5)];
pane.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX, clientY }));
return pane.querySelector(".uq-value").textContent;
"""
)
CHOOSE = NODE + "const s = element.querySelector('select'); s.value = given; s.dispatchEvent(new Event('change'));"
# Chooses an open workflow by its tab, and waits until its nodes are there.
TAB = """
const before = app.graph.nodes[0];
[...document.querySelectorAll(".workflow-tab")].find(tab => tab.textContent.includes(given)).click();
while (!app.graph.nodes.length || app.graph.nodes.includes(before)) await new Promise(done => setTimeout(done, 50));
await new Promise(done => setTimeout(done, 500));
"""
PRESS = NODE + "element.querySelector('.uq-stage').dispatchEvent(new KeyboardEvent('keydown', { key: given, bubbles: true }));"


@pytest.fixture(scope="module", params=RENDERERS)
def page(comfy: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    with opened(comfy, request.param) as page:
        yield page


def graph(scores: str, salt: int, compares: bool = False, direction: str = "high_is_bad", **settings: Any) -> Graph:
    g = Graph()
    scored = g.node("UQTest_Uncertainty", scores=scores, direction=direction, frames=0, salt=salt)
    images = g.node("UQTest_NumberedImages", first=20, count=len(scores.split(",")), size=64)
    other = {}
    if compares:
        other["compare_uncertainty"] = g.node("UQTest_Uncertainty", scores="5,6", direction=direction, frames=0, salt=salt)
        other["compare_images"] = g.node("UQTest_NumberedImages", first=70, count=2, size=64)
        other["accepted_indexes"] = g.node("UQ_SampleFilter", uncertainty=scored, rule="keep_best_count", value=1.0)[6]
    values = {"opacity": 0.6, "colormap": "inferno", "percentile": 90.0, **settings}
    heat = g.node(HEATMAP, uncertainty=scored, images=images, **values, **other)
    g.node("PreviewImage", images=heat)
    return g


def shown(page: Browser, g: Graph, scale: float = 1.0) -> dict[str, Any]:
    """What the viewer shows once the graph has run."""
    open_graph(page, g, f"heatmap {next(NUMBERS)}")
    look_at(page, HEATMAP, scale)
    queue(page)
    page.wait_for(SHOWN)
    page.run("await new Promise(done => setTimeout(done, 600));")
    return page.wait_for(SHOWN)


def test_image_colours_outline_and_score_are_shown(page: Browser) -> None:
    page.errors()
    now = shown(page, graph("0.4,0.1,0.3", salt=61))
    assert now["panes"] == [[True, True, "image 0 · score 0.4"]]
    assert (now["page"], now["fade"], now["sliders"], now["kinds"]) == ("1 / 3", ["0.6"], [0.6, 90], ["none"])
    assert now["outline"][0] > 0 and now["pictures"] == 0
    assert page.errors() == []


def test_sliders_and_widgets_are_one(page: Browser) -> None:
    before = shown(page, graph("0.4,0.1", salt=62))
    assert page.run(SLIDE, [0, 0.25])[0] == 0.25
    assert page.run(SLIDE, [1, 99])[2] == 99
    after = page.wait_for(SHOWN)
    assert after["fade"] == ["0.25"] and after["outline"] != before["outline"]
    page.run(TYPE, ["percentile", 100.0])
    page.run(TYPE, ["opacity", 1.0])
    last = page.wait_for(SHOWN)
    assert (last["sliders"], last["fade"], last["outline"]) == ([1, 100], ["1"], [0])
    values = {node["type"]: node.get("widgets_values") for node in page.serialized()["nodes"]}
    assert values[HEATMAP] == [1.0, "inferno", 100.0]


def test_the_value_under_the_pointer_is_read(page: Browser) -> None:
    """Image 0 of the test's maps has its one worst pixel, of value 1, in the first of 8 x 8 pixels."""
    shown(page, graph("0.4,0.1", salt=63))
    worst = page.run(POINT, [0.5 / 8, 0.5 / 8])
    assert worst.startswith("1 · above 9") and worst.endswith("in the mask")
    assert page.run(POINT, [1 / 8, 0.5 / 8]).startswith("0.5 ·")
    assert page.run(POINT, [0.9, 0.9]) == "0 · above 0 %"
    assert page.run(POINT, [1.2, 0.5]) == ""


def test_the_value_read_is_the_tensors(comfy: Server, page: Browser) -> None:
    """Along a row of a map that the demo model made, and that came to the page as a file of levels."""
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=5, batch_size=1)
    window = {
        "samples": 2,
        "start_percent": 0.6,
        "end_percent": 0.75,
        "levels": 1,
        "quantity": "denoised",
        "seed": next(NUMBERS),
        "cfg": 1.0,
    }
    scored = g.node("UQ_UncertaintyEstimator", model=demo[0], positive=demo[1], latent=demo[5], **window)
    saved = g.node("UQTest_SaveUncertainty", uncertainty=scored[1])
    images = g.node("VAEDecode", samples=scored, vae=demo[3])
    g.node("PreviewImage", images=g.node(HEATMAP, uncertainty=scored[1], images=images, opacity=0.6, colormap="inferno", percentile=90.0))
    before = set(comfy.get("/history"))
    shown(page, g)
    (prompt,) = wait_for_new(comfy, before)
    found = comfy.value(comfy.history(prompt), saved)[0]
    row, half_a_level = found["row"], found["highest"] / 65535 / 2  # a level is a part of the range of the whole map
    at = [round(len(row) * part) for part in (0.1, 0.3, 0.45, 0.5, 0.6, 0.8)]
    for column in at:
        read = page.run(POINT, [(column + 0.5) / len(row), (len(row) // 2 + 0.5) / len(row)])
        assert float(read.split(" ")[0]) == pytest.approx(row[column], rel=6e-3, abs=1.01 * half_a_level), read


def test_what_comes_late_from_another_workflow_is_not_drawn(comfy: Server, page: Browser) -> None:
    """ComfyUI hands what node 6 of the first has sent to node 6 of the one that is open by then."""
    first, second = Graph(), Graph()
    demo = first.node("UQ_LoadDemoModel", digit=5, batch_size=1)
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": demo[4]}
    sampled = first.node("KSampler", **wires, seed=next(NUMBERS), steps=150, cfg=1.0, sampler_name="euler", scheduler="normal", denoise=1.0)
    scored = first.node("UQTest_Uncertainty", scores="0.4", direction="high_is_bad", frames=0, salt=next(NUMBERS))
    images = first.node("VAEDecode", samples=sampled, vae=demo[3])
    heat = first.node(HEATMAP, uncertainty=scored, images=images, opacity=0.6, colormap="inferno", percentile=90.0)
    late = first.node("UQ_SampleFilter", uncertainty=scored, images=heat, rule="keep_best_count", value=1.0)
    first.node("PreviewImage", images=late)
    for _ in range(int(late.id) - 2):
        second.node("UQ_SweepValues", values="0", name="another")
    other = second.node("UQTest_Uncertainty", scores="0.1", direction="high_is_bad", frames=0, salt=next(NUMBERS))
    report = second.node("UQ_Report", uncertainty=other)
    assert report.id == late.id
    open_graph(page, first, f"heatmap {next(NUMBERS)}")
    before = set(comfy.get("/history"))
    queue(page)
    open_graph(page, second, f"heatmap {next(NUMBERS)}")
    (prompt,) = wait_for_new(comfy, before)
    assert str(late) in comfy.history(prompt).outputs
    page.run("await new Promise(done => setTimeout(done, 1000));")
    drawn = "return app.graph.nodes.find(n => n.comfyClass === 'UQ_Report').widgets.find(w => w.element).element.childElementCount;"
    assert page.run(drawn) == 0


def wait_for_new(comfy: Server, before: set[str]) -> set[str]:
    deadline = time.monotonic() + 120
    while not (new := set(comfy.get("/history")) - before) and time.monotonic() < deadline:
        time.sleep(0.2)
    return new


def test_where_low_is_unsure_the_value_is_the_quantity_itself(page: Browser) -> None:
    shown(page, graph("0.4,0.1", salt=73, direction="low_is_bad"))
    assert page.run(POINT, [0.5 / 8, 0.5 / 8]) == "1 · above 0 %"


def test_it_reads_the_same_zoomed_out(page: Browser) -> None:
    shown(page, graph("0.4,0.1", salt=64), scale=0.4)
    assert page.run(POINT, [1 / 8, 0.5 / 8]).startswith("0.5 ·")


def test_arrow_keys_turn_pages(page: Browser) -> None:
    shown(page, graph("0.4,0.1,0.3", salt=65))
    seen = []
    for key in ("ArrowRight", "End", "ArrowRight", "ArrowLeft", "Home"):
        page.run(PRESS, key)
        seen.append(page.wait_for(SHOWN)["panes"][0][2])
    assert [words.split(" · ")[0] for words in seen] == ["image 1", "image 2", "image 0", "image 2", "image 0"]


def test_pictures_are_compared_in_pairs(page: Browser) -> None:
    page.errors()
    now = shown(page, graph("0.4,0.1,0.3", salt=66, compares=True))
    assert now["kinds"] == ["none", "other", "verdict"]
    page.run(CHOOSE, "other")
    assert [words for *_, words in page.wait_for(SHOWN)["panes"]] == [
        "first · image 0 · score 0.4 · rejected",
        "second · image 0 · score 5",
    ]
    page.run(POINT, [0.5 / 8, 0.5 / 8])
    assert [value.split(" ·")[0] for value in page.wait_for(SHOWN)["values"]] == ["1", "1"]
    page.run(CHOOSE, "verdict")
    names = [name for *_, name in page.wait_for(SHOWN)["panes"]]
    assert names == ["image 1 · score 0.1 · accepted", "image 0 · score 0.4 · rejected"]
    assert page.errors() == []


def test_this_run_is_compared_with_the_last(page: Browser) -> None:
    shown(page, graph("0.4,0.1", salt=67))
    page.run("const n = app.graph.nodes.find(n => n.comfyClass === 'UQTest_Uncertainty'); n.widgets[0].value = '0.7,0.2';")
    queue(page)
    page.wait_for(f"const now = (() => {{ {SHOWN} }})(); return now?.kinds.includes('last');")
    page.run(CHOOSE, "last")
    words = [name for *_, name in page.wait_for(SHOWN)["panes"]]
    assert words == ["this run · image 0 · score 0.7", "the run before · image 0 · score 0.4"]


def test_a_cached_run_shows_the_same(comfy: Server, page: Browser) -> None:
    if not comfy.object_info()[HEATMAP].get("has_intermediate_output"):
        pytest.skip("this ComfyUI sends what a cached node shows again only for output nodes")
    first, again = (shown(page, graph("0.4,0.1", salt=68)) for _ in range(2))
    assert again == first


def test_a_workflow_opened_again_shows_the_same(page: Browser) -> None:
    first = shown(page, graph("0.4,0.1", salt=74))
    open_graph(page, graph("0.3,0.2", salt=69), "another", keep=True)
    page.run(TAB, f"heatmap {next(NUMBERS) - 1}")
    look_at(page, HEATMAP)
    assert page.wait_for(SHOWN)["panes"] == first["panes"]


def test_a_copy_has_a_viewer_of_its_own(page: Browser) -> None:
    page.errors()
    shown(page, graph("0.4,0.1", salt=70))
    page.run(NODE + "app.canvas.selectNodes([node]); app.canvas.copyToClipboard(); app.canvas.pasteFromClipboard();")
    copies = "const all = app.graph.nodes.filter(n => n.comfyClass === 'UQ_Heatmap');"
    page.run(copies + "const [opacity] = all.at(-1).widgets; opacity.callback(opacity.value = 0.1);")
    shows = "n.widgets.find(w => w.name === 'uncertainty_viewer').element.textContent.length > 0"
    count_of = f"{copies} return all.map(n => [n.widgets.length, n.widgets[0].value, {shows}]);"
    assert page.run(count_of) == [[4, 0.6, True], [4, 0.1, True]]
    assert page.wait_for(SHOWN)["fade"] == ["0.6"]
    assert page.errors() == []


def test_it_works_in_a_subgraph(page: Browser) -> None:
    open_graph(page, graph("0.4,0.1", salt=71), f"heatmap {next(NUMBERS)}")
    page.errors()
    page.run(INTO_SUBGRAPH, HEATMAP)
    queue(page)
    page.run(ENTER)
    page.wait_for(SHOWN)
    page.run("await new Promise(done => setTimeout(done, 500));")
    assert page.wait_for(SHOWN)["panes"] == [[True, True, "image 0 · score 0.4"]]
    assert page.run(SLIDE, [0, 0.25])[0] == 0.25
    assert page.wait_for(SHOWN)["fade"] == ["0.25"]
    assert page.errors() == []
