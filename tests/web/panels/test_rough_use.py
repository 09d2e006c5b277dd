"""What people do to a page while it works: loading it again, deleting and renaming nodes, large batches, scores that are no numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from uuid import uuid4

import pytest

from browser import Browser, why_not
from comfy_graph import Graph
from comfy_server import Server
from panel_rows import CURVE, GUIDANCE, REPORT, REPORTS, SAMPLER, SAMPLING
from panels import FIX_SEEDS, Panel, reload
from renderers import RENDERERS, look_at, open_graph, opened, queue
from viewer_rows import FILTER, HEATMAP, LINE, VIEWER

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")
SEEDS, NUMBERS = count(7000), count()
RUNNING = "return element?.querySelectorAll('.uq-curve polyline').length > 0 && !element.querySelector('.uq-push').hidden;"
ENDED = """
window.ended = null;
for (const type of ["execution_success", "execution_error"]) app.api.addEventListener(type, () => { window.ended = type; }, { once: true });
"""


@pytest.fixture(scope="module", params=RENDERERS)
def page(comfy: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    with opened(comfy, request.param) as page:
        yield page


@pytest.fixture(autouse=True)
def silent(page: Browser, comfy: Server) -> Iterator[None]:
    page.errors()
    yield
    comfy.cancel()
    assert page.errors() == []


def sampled(steps: int, batch: int = 2, spoiled: bool = False) -> Graph:
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=batch)
    latent = g.node("UQTest_SpoilImage", latent=demo[4], index=1) if spoiled else demo[4]
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": latent}
    drawn = g.node(SAMPLER, **wires, seed=next(SEEDS), steps=steps, **SAMPLING, **GUIDANCE)
    images = g.node("VAEDecode", samples=drawn, vae=demo[3])
    kept = g.node(FILTER, uncertainty=drawn[1], images=images, rule="keep_best_count", value=1.0)
    labels = {"accepted_indexes": kept[6]}
    heat = g.node(HEATMAP, uncertainty=drawn[1], images=images, opacity=0.6, colormap="inferno", percentile=90.0, **labels)
    g.node("PreviewImage", images=heat)
    g.node(REPORT, uncertainty=drawn[1], images=images, **labels)
    return g


def start(page: Browser, g: Graph) -> None:
    """Opened as a workflow with an id, in the middle of its run."""
    open_graph(page, g, f"rough {next(NUMBERS)}")
    page.run(FIX_SEEDS)
    page.load(page.serialized() | {"id": str(uuid4())})
    look_at(page, SAMPLER)
    page.run(ENDED)
    queue(page)


def midway(page: Browser) -> None:
    page.wait_for(f"return (() => {{ {CURVE.script(RUNNING)} }})();", 60)


def test_a_page_that_is_loaded_again_in_the_middle_of_a_run_shows_the_whole_of_it(page: Browser) -> None:
    start(page, sampled(steps=60))
    page.run("await new Promise(done => setTimeout(done, 200));")
    reload(page)
    look_at(page, SAMPLER)
    page.errors()  # of the host's own start
    assert CURVE.wait(page, timeout=90)["lines"] == [60, 60]


def test_a_node_that_is_deleted_while_it_runs_is_missed_by_nobody(page: Browser) -> None:
    start(page, sampled(steps=300))
    midway(page)
    page.run(CURVE.script("app.graph.remove(node);"))
    page.wait_for("return window.ended;", 120)
    assert page.run("return window.ended;") == "execution_success"
    assert len(REPORTS.wait(page)["rows"]) == 2


def test_a_node_that_is_renamed_and_folded_while_it_runs_goes_on(page: Browser) -> None:
    start(page, sampled(steps=60))
    page.run(CURVE.script("node.title = '<b>mine</b>'; node.collapse?.();"))
    page.wait_for("return window.ended;", 120)
    page.run(CURVE.script("node.collapse?.();"))
    look_at(page, SAMPLER)
    assert CURVE.wait(page)["lines"] == [60, 60]
    assert page.run(CURVE.script("return node.size[1] >= node.computeSize()[1];")), "it has room"


def test_batches_of_64_are_drawn(page: Browser) -> None:
    start(page, sampled(steps=4, batch=64))
    assert CURVE.wait(page, timeout=120)["lines"] == [4] * 64
    assert len(REPORTS.wait(page, timeout=120)["rows"]) == 64
    look_at(page, FILTER)
    assert len(LINE.wait(page)["images"]) == 64
    look_at(page, HEATMAP)
    assert VIEWER.wait(page)["page"].startswith("1 / ")


@pytest.mark.parametrize("panel", [CURVE, REPORTS, LINE, VIEWER], ids=str)
def test_an_image_that_failed_is_shown_as_failed(page: Browser, panel: Panel) -> None:
    start(page, sampled(steps=4, batch=3, spoiled=True))
    page.wait_for("return window.ended;", 120)
    look_at(page, panel.kind)
    shown = panel.wait(page)
    if panel is CURVE:
        assert shown["lines"] == [4, 0, 4]
    text = page.run(panel.script("return element.innerText;")).replace("not finite (NaN)", "")  # the sentence that says so
    assert "NaN" not in text and "undefined" not in text and "null" not in text
