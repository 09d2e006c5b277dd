"""Each panel of ours, and the review, for people who use keys or a screen reader: names, Tab, a focus that is seen."""

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

SAMPLER = "UQ_UncertaintyGuidedSampler"
PANELS = [
    (SAMPLER, "uncertainty_stage"),
    (SAMPLER, "uncertainty_curve"),
    ("UQ_SampleFilter", "uncertainty_filter"),
    ("UQ_Heatmap", "uncertainty_viewer"),
    ("UQ_Report", "uncertainty_report"),
]
SETTINGS = {"seed": 401, "steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "strength": 0.02}
SETTINGS |= {"percentile": 0.0, "samples": 2, "start_percent": 0.0, "end_percent": 1.0}
SETTINGS |= {"mode": "posterior", "units": "relative", "preset": "measured"}
REVIEW = "document.querySelector('dialog.uq-review')"
SALTS = count(4000)


def panel(node: str, name: str) -> str:
    return f"app.graph.nodes.find(n => n.comfyClass === '{node}').widgets.find(w => w.name === '{name}').element"


def graph() -> Graph:
    """One workflow with every panel of ours."""
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=3)
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": demo[4]}
    sampled = g.node(SAMPLER, **wires, **SETTINGS)
    images = g.node("VAEDecode", samples=sampled, vae=demo[3])
    kept = g.node("UQ_SampleFilter", uncertainty=sampled[1], images=images, rule="keep_best_count", value=2.0)
    labels = {"accepted_indexes": kept[6]}
    heat = g.node("UQ_Heatmap", uncertainty=sampled[1], images=images, opacity=0.6, colormap="inferno", percentile=90.0, **labels)
    g.node("PreviewImage", images=heat)
    g.node("UQ_Report", uncertainty=sampled[1], images=images, **labels)
    return g


@pytest.fixture(scope="module", params=RENDERERS)
def page(comfy: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    with opened(comfy, request.param) as page:
        open_graph(page, graph(), "all panels")
        queue(page)
        page.wait_for(f"return {panel('UQ_Report', 'uncertainty_report')}.querySelector('table');", 90)
        yield page


@pytest.mark.parametrize(("node", "name"), PANELS)
def test_a_panel_can_be_used_without_a_mouse(page: Browser, node: str, name: str) -> None:
    from accessible import complaints

    look_at(page, node, 0.6)  # all of it
    assert complaints(page, panel(node, name)) == []


def test_the_check_finds_what_is_wrong(page: Browser) -> None:
    from accessible import complaints

    page.run(
        """
        const box = document.createElement("div");
        box.id = "faulty";
        box.style = "position: fixed; left: 40px; top: 40px; z-index: 99999; background: white;";
        box.innerHTML = `<style>.bare { outline: none !important; border: 1px solid !important; background: white !important; }</style>
          <button class="fine">fine</button><button class="nameless" style="width: 20px; height: 20px"></button>
          <button class="passed" tabindex="-1">passed</button><p><button class="bare">bare</button></p>`;
        document.body.append(box);
        """
    )
    found = complaints(page, "document.getElementById('faulty')")
    page.run("document.getElementById('faulty').remove();")
    assert found == [
        '<button class="nameless"> has no name',
        '<button class="passed"> is not reached by Tab',
        '<button class="bare"> does not show that it has the focus',
    ]


@pytest.mark.parametrize("zoomed", [False, True])
def test_the_review_can_be_used_without_a_mouse(comfy: Server, page: Browser, zoomed: bool) -> None:
    from accessible import complaints
    from comfy_review import Reviewed

    open_graph(page, Reviewed(salt=next(SALTS), band=100.0).graph, f"review {next(SALTS)}")
    queue(page)
    try:
        page.wait_for(f"return {REVIEW}?.querySelector('.uq-card');")
        if zoomed:
            page.run("document.querySelectorAll('.uq-zoom')[1].click();")
        assert complaints(page, REVIEW) == []
    finally:
        comfy.cancel()
        page.wait_for(f"return !{REVIEW};")
