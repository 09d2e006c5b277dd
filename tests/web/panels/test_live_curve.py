"""The live curve inside a sampling node, in ComfyUI's own front-end and both of its renderers, with the bundled model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from browser import Browser, why_not
from comfy_graph import Graph
from comfy_server import Server
from renderers import RENDERER, RENDERERS, look_at, open_graph, opened, queue

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")
SAMPLER, UNTIL, BEST = "UQ_UncertaintyGuidedSampler", "UQ_SampleUntilAccepted", "UQ_BestOfN"
SAMPLING = {"cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
GUIDANCE = {"strength": 0.02, "percentile": 0.0, "samples": 2, "start_percent": 0.0, "end_percent": 1.0}
GUIDANCE |= {"mode": "posterior", "units": "relative", "preset": "measured"}
UNTIL_OPTIONS = {"rule": "threshold", "value": 0.0, "wanted": 1, "max_attempts": 3, "scorer": "denoised", "samples": 2, "levels": 1}
BEST_OPTIONS = {"candidates": 4, "keep": 1, "points": "0.5", "fractions": "0.5", "scorer": "denoised", "second_scorer": "none"}
BEST_OPTIONS |= {"mode": "prune", "samples": 2, "micro_batch": 1, "limit": 50.0, "sharpness": 1.0}
OPTIONS = {SAMPLER: GUIDANCE, UNTIL: UNTIL_OPTIONS, BEST: BEST_OPTIONS}
NUMBERS = count()

NODE = """
const node = app.graph.nodes.find(node => node.widgets?.some(widget => widget.name === "uncertainty_curve"));
const element = node?.widgets.find(widget => widget.name === "uncertainty_curve").element;
"""
READ = """
const curve = element?.querySelector(".uq-curve");
if (!curve) return null;
const all = selector => [...element.querySelectorAll(selector)];
const points = line => line.getAttribute("points").trim().split(/\\s+/).filter(Boolean).length;
return { lines: all("polyline").map(points), dots: all(".uq-dots").map(dot => dot.getAttribute("d")).filter(Boolean).length,
  dropped: all(".uq-dots.uq-dropped").length, limit: all(".uq-limit").length, title: element.querySelector(".uq-head > span").textContent,
  running: !element.querySelector(".uq-push").hidden, visible: element.isConnected && element.getBoundingClientRect().height > 100,
  legend: element.querySelector(".uq-legend").textContent };
"""
SHOWN = NODE + READ
VIEW = """
const marks = [...element.querySelectorAll(".uq-curve text")].map(text => text.textContent);
return [element.querySelector(".uq-head button").textContent, ...marks.slice(0, 3)];
"""
DONE = f"const now = (() => {{ {SHOWN} }})(); return now?.title && !now.running && now.visible && now;"
# What the panel shows, each time that it changes.
WATCH = f"""{NODE}
window.seen = [];
const read = () => {{ {READ} }};
new MutationObserver(() => {{ const now = read(); if (now) window.seen.push(now); }})
  .observe(element, {{ subtree: true, childList: true, attributes: true, characterData: true }});
"""
SEEN = "return window.seen;"


@pytest.fixture(scope="module", params=RENDERERS)
def page(comfy: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    with opened(comfy, request.param) as page:
        yield page


def graph(kind: str, seed: int, steps: int = 4) -> Graph:
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=2)
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": demo[4]}
    latent = g.node(kind, **wires, seed=seed, steps=steps, **SAMPLING, **OPTIONS[kind])
    g.node("PreviewImage", images=g.node("VAEDecode", samples=latent, vae=demo[3]))
    return g


def start(page: Browser, g: Graph, kind: str) -> None:
    open_graph(page, g, f"curve {next(NUMBERS)}")
    look_at(page, kind)
    page.run(WATCH)


def test_it_grows_while_the_sampler_works_and_is_whole_afterwards(page: Browser) -> None:
    page.errors()
    start(page, graph(SAMPLER, seed=201, steps=60), SAMPLER)
    assert page.run(SHOWN) is None, "nothing is drawn before anything is measured"
    queue(page)
    now = page.wait_for(DONE, 90)
    assert now["lines"] == [60, 60] and now["title"].startswith("score by step")
    growing = [each["lines"][0] for each in page.run(SEEN) if each["running"] and each["lines"]]
    assert growing and growing == sorted(growing) and growing[0] < 60
    assert page.errors() == []


def test_attempts_are_dots_beside_the_line_that_decides(page: Browser) -> None:
    page.errors()
    start(page, graph(UNTIL, seed=202), UNTIL)
    queue(page)
    page.wait_for(f"const now = (() => {{ {SHOWN} }})(); return now?.dots === 6 && !now.running && now;", 60)
    now = page.run(SHOWN)
    assert now["lines"] == [0] * 6 and now["dropped"] == 6 and now["limit"] == 1 and "worse than the limit 0" in now["legend"]
    assert page.errors() == []


def test_candidates_end_where_they_were_compared(page: Browser) -> None:
    page.errors()
    start(page, graph(BEST, seed=203), BEST)
    queue(page)
    page.wait_for(f"const now = (() => {{ {SHOWN} }})(); return now?.lines.length === 8 && !now.running && now;", 60)
    assert sorted(page.run(SHOWN)["lines"]) == [1] * 4 + [2] * 4
    assert page.errors() == []


def test_only_the_page_that_queued_draws(comfy: Server, page: Browser) -> None:
    g = graph(SAMPLER, seed=205, steps=30)
    with Browser(comfy.url) as other:
        for each in (page, other):
            start(each, g, SAMPLER)
        queue(page)
        assert page.wait_for(DONE, 90)["lines"] == [30, 30]
        assert other.run(SHOWN) is None and other.run(SEEN) == []


def test_the_button_stops_what_looks_hopeless(comfy: Server, page: Browser) -> None:
    page.errors()
    start(page, graph(SAMPLER, seed=206, steps=900), SAMPLER)
    queue(page)
    page.wait_for(f"const now = (() => {{ {SHOWN} }})(); return now?.running && now.lines[0] > 2;", 60)
    ((_, prompt, *_),) = comfy.get("/queue")["queue_running"]
    page.run(NODE + "element.querySelector('.uq-push').click();")
    now = page.wait_for(f"const now = (() => {{ {SHOWN} }})(); return now && !now.running && now;", 60)
    assert now["lines"][0] < 900
    assert comfy.wait(prompt).message("execution_interrupted")
    page.run("document.querySelectorAll('.p-dialog-close-button').forEach(button => button.click());")  # early front-ends tell of it
    page.errors()


def test_the_calibration_of_the_workflow_is_the_band(page: Browser) -> None:
    page.errors()
    g = graph(SAMPLER, seed=207, steps=12)
    demo, sampler = (next(id for id, node in g.items() if node["class_type"] == kind) for kind in ("UQ_LoadDemoModel", SAMPLER))
    g[demo]["inputs"]["batch_size"] = 9
    g.node("UQ_Calibrate", uncertainty=[sampler, 1], name=f"band {next(NUMBERS)} {page.run(RENDERER)}")
    start(page, g, SAMPLER)
    queue(page)
    page.wait_for(DONE, 90)
    g[sampler]["inputs"]["seed"] = 208
    start(page, g, SAMPLER)  # a workflow that has no runs of its own
    queue(page)
    told = "now?.title && !now.running && now.legend.startsWith('most of 9 images in “band')"
    page.wait_for(f"const now = (() => {{ {SHOWN} }})(); return {told};", 90)
    wide = "const box = element.querySelector('.uq-band').getBoundingClientRect(); return [box.height / box.width, box.width];"
    share, width = page.run(NODE + wide)
    assert share > 0.1 and width > 150, "the band is no hairline, though scores shrink a hundredfold"
    assert page.run(NODE + VIEW) == ["Scores", "lower", "usual", "higher"]
    page.run(NODE + "element.querySelector('.uq-head button').click(); await new Promise(done => setTimeout(done, 200));")
    view, *heights = page.run(NODE + VIEW)
    assert view == "Compare" and "usual" not in heights, "the scores themselves"
    assert page.errors() == []


def test_live_updates_can_be_switched_off(page: Browser) -> None:
    page.errors()
    page.run("await app.extensionManager.setting.set('Uncertainty.Live.Updates', false);")
    try:
        start(page, graph(SAMPLER, seed=209, steps=60), SAMPLER)
        queue(page)
        assert page.wait_for(DONE, 90)["lines"] == [60, 60]
        assert not any(each["running"] for each in page.run(SEEN))
    finally:
        page.run("await app.extensionManager.setting.set('Uncertainty.Live.Updates', true);")
    assert page.errors() == []
