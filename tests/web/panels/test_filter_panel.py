"""Sample Filter's panel in ComfyUI's own front-end: what is drawn, what a drag sets, and what runs again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from browser import Browser, why_not
from comfy_graph import Graph
from comfy_server import Server
from renderers import RENDERERS, look_at, open_graph, opened, queue

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

NUMBERS = count()
DECIDED = {"borderline": "by_rule", "band": 15.0}  # told each time: the page keeps by a node's number what the graph before it had set
NODE = "const node = app.graph.nodes.find(node => node.comfyClass === 'UQ_SampleFilter');"
PANEL = NODE + "const panel = node.widgets.find(widget => widget.name === 'uncertainty_filter').element;"
DRAWN = (
    PANEL
    + """
if (!panel.querySelector('.uq-pile')) return null;
const of = selector => panel.querySelectorAll(selector).length;
return { headline: panel.querySelector('.uq-row').textContent, bars: of('rect.uq-kept, rect.uq-dropped'), line: of('.uq-line'),
  marks: of('.uq-rug'), pictures: of('.uq-thumb'), images: [...panel.querySelectorAll('.uq-chip')].map(chip => chip.textContent),
  value: node.widgets.find(widget => widget.name === 'value').value, slider: of('[role=slider]') };
"""
)
DRAG = (
    PANEL
    + """
const picture = panel.querySelector('.uq-drags'), box = picture.getBoundingClientRect();
const send = (target, type, x) => target.dispatchEvent(new PointerEvent(type,
  { bubbles: true, cancelable: true, button: 0, pointerId: 5, clientX: box.left + x * box.width, clientY: box.top + box.height / 2 }));
send(picture, 'pointerdown', given[0]);
for (const x of given) send(window, 'pointermove', x);
send(window, 'pointerup', given[given.length - 1]);
"""
)


@pytest.fixture(scope="module", params=RENDERERS)
def page(comfy: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    with opened(comfy, request.param) as page:
        yield page


def show(page: Browser, rule: str, value: float, scores: str = "0.4,0.1,0.3,0.2", **options: object) -> dict[str, object]:
    """What the panel shows after a run."""
    g = Graph()
    scored = g.node("UQTest_Uncertainty", scores=scores, direction="high_is_bad", frames=0, salt=next(NUMBERS))
    images = g.node("UQTest_NumberedImages", first=20, count=len(scores.split(",")), size=32)
    kept = g.node("UQ_SampleFilter", uncertainty=scored, images=images, rule=rule, value=value, **DECIDED | options)
    for output in (0, 6):
        g.node("UQTest_SaveValue", value=kept[output])
    open_graph(page, g, f"filter {next(NUMBERS)}")
    queue(page)
    page.wait_for(DRAWN)
    look_at(page, "UQ_SampleFilter")
    return page.run(DRAWN)


def test_scores_images_and_line_are_drawn(page: Browser) -> None:
    page.errors()
    drawn = show(page, "keep_best_count", 3.0)
    assert drawn["headline"] == "3 of 4 passed"
    assert (drawn["line"], drawn["marks"], drawn["pictures"]) == (1, 4, 4) and drawn["bars"] > 0
    assert drawn["images"] == ["✓ 1", "✓ 3", "✓ 2", "✕ 0"]
    assert page.errors() == []


def test_what_was_set_aside_is_neither_accepted_nor_rejected(page: Browser) -> None:
    drawn = show(page, "keep_best_count", 2.0, borderline="set_aside", band=30.0)
    assert drawn["headline"] == "1 of 4 passedset aside: 2"
    assert drawn["images"] == ["✓ 1", "? 3", "? 2", "✕ 0"]
    page.run(DRAG, [0.7, 0.28])  # what would be set aside is known when it runs
    assert page.run(DRAWN)["images"] == ["✓ 1", "✕ 3", "✕ 2", "✕ 0"]


@pytest.mark.parametrize(
    ("rule", "value", "wanted"), [("keep_best_count", 3.0, 1), ("drop_worst_percent", 25.0, 75), ("threshold", 0.35, None)]
)
def test_a_drag_sets_the_value_and_tells_who_would_pass(page: Browser, rule: str, value: float, wanted: float | None) -> None:
    page.errors()
    show(page, rule, value)
    page.run(DRAG, [0.7, 0.5, 0.28])  # between the best, 0.1, and the next, 0.2
    drawn = page.run(DRAWN)
    assert drawn["headline"].startswith("1 of 4 would pass") and "last run: 3" in drawn["headline"]
    assert drawn["images"] == ["✓ 1", "✕ 3", "✕ 2", "✕ 0"]
    assert drawn["value"] == wanted if wanted is not None else 0.1 < drawn["value"] < 0.2
    assert page.prompt()["3"]["inputs"]["value"] == drawn["value"]
    assert page.errors() == []


def test_keys_move_the_line_and_keep_the_focus(page: Browser) -> None:
    show(page, "keep_best_count", 2.0)
    key = "new KeyboardEvent('keydown', { key: given, bubbles: true, cancelable: true })"
    for name in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.run(PANEL + f"const line = panel.querySelector('.uq-line'); line.focus(); line.dispatchEvent({key});", name)
    drawn = page.run(DRAWN)
    assert drawn["value"] == 3 and drawn["headline"].startswith("3 of 4 would pass")
    assert page.run(PANEL + "return document.activeElement === panel.querySelector('.uq-line');")


def test_only_the_filter_runs_again(comfy: Server, page: Browser) -> None:
    show(page, "keep_best_count", 3.0)
    page.run(DRAG, [0.7, 0.28])
    before = set(comfy.get("/history"))
    page.run(PANEL + "panel.querySelector('.uq-push').click();")
    page.wait_for(f"{DRAWN.replace('return {', 'const found = {')} return found.headline === '1 of 4 passed';")
    (again,) = set(comfy.get("/history")) - before
    cached = comfy.history(again).cached
    assert {"1", "2"} <= cached and "3" not in cached


def test_the_panel_is_no_part_of_the_workflow(page: Browser) -> None:
    show(page, "keep_best_count", 3.0)
    values = {node["type"]: node.get("widgets_values") for node in page.serialized()["nodes"]}
    assert values["UQ_SampleFilter"][:3] == ["keep_best_count", 3, 0.5] and values["UQ_SampleFilter"][-1] == "by_rule"


def test_a_value_that_comes_over_a_link_stands_still(page: Browser) -> None:
    g = Graph()
    scored = g.node("UQTest_Uncertainty", scores="0.4,0.1", direction="high_is_bad", frames=0, salt=next(NUMBERS))
    value = g.node("UQTest_Floats", values="1")
    kept = g.node("UQ_SampleFilter", uncertainty=scored, rule="keep_best_count", value=value, **DECIDED)
    g.node("UQTest_SaveValue", value=kept[6])
    open_graph(page, g, f"filter {next(NUMBERS)}")
    queue(page)
    page.wait_for(DRAWN)
    drawn = page.run(DRAWN)
    assert (drawn["line"], drawn["slider"], drawn["headline"]) == (1, 0, "1 of 2 passed")


def test_no_score_at_all(page: Browser) -> None:
    page.errors()
    drawn = show(page, "keep_best_count", 3.0, scores="nan,nan")
    assert drawn["headline"] == "0 of 2 passed" and drawn["line"] == 0
    assert page.errors() == []
