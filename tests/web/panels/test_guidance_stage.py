"""The stage inside the guidance nodes, in ComfyUI's own front-end and both of its renderers, with the bundled model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from browser import Browser, why_not
from comfy_graph import Graph
from comfy_server import Server
from renderers import ENTER, INTO_SUBGRAPH, RENDERERS, look_at, open_graph, opened, queue

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")
SAMPLER, GUIDANCE, GUIDER = "UQ_UncertaintyGuidedSampler", "UQ_UncertaintyGuidance", "UQ_UncertaintyGuider"
OPTIONS = {"strength": 0.02, "percentile": 0.0, "samples": 2, "start_percent": 0.0, "end_percent": 1.0}
OPTIONS |= {"mode": "posterior", "units": "relative", "preset": "measured"}
SAMPLING = {"steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
NUMBERS = count()

NODE = """
const kinds = ["UQ_UncertaintyGuidedSampler", "UQ_UncertaintyGuidance", "UQ_UncertaintyGuider"];
const nodes = graph => graph.nodes.flatMap(node => node.subgraph ? [node, ...nodes(node.subgraph)] : [node]);
const node = nodes(app.graph).find(node => kinds.includes(node.comfyClass));
const element = node?.widgets.find(widget => widget.name === "uncertainty_stage")?.element;
const widget = name => node.widgets.find(each => each.name === name);
"""
SHOWN = (
    NODE
    + """
if (!element) return null;
const all = selector => [...element.querySelectorAll(selector)];
const [start, end, strength] = all(".uq-handle").map(handle => Number(handle.getAttribute("aria-valuenow")));
return { price: element.querySelector(".uq-price").textContent, runs: all(".uq-run").length, start, end, strength,
  frames: all(".uq-frame").map(frame => frame.textContent), name: element.querySelector(".uq-name").textContent,
  outline: element.querySelector(".uq-outline").getAttribute("d").length, wide: element.getBoundingClientRect().width,
  trouble: element.querySelector(".uq-trouble").textContent, fade: all(".uq-picture img")[1].style.opacity,
  loaded: all(".uq-film img").filter(image => image.complete && image.naturalWidth).length };
"""
)
RUN_SHOWN = f"const now = (() => {{ {SHOWN} }})(); return now?.runs && now;"
SWEPT = f"const now = (() => {{ {SHOWN} }})(); return now?.loaded === 5 && now;"
SWEEP = NODE + "element.querySelector('.uq-button').click();"
VALUES = NODE + "return Object.fromEntries(node.widgets.filter(w => !w.element).map(w => [w.name, w.value]));"
SET = NODE + "const w = widget(given[0]); w.value = given[1]; w.callback?.(w.value, app.canvas, node);"
SLIDE = NODE + "const s = element.querySelector('.uq-film input'); s.value = given; s.dispatchEvent(new Event('input'));"
# A handle is dragged to a place of the chart, both from 0 to 1.
DRAG = (
    NODE
    + """
const handle = element.querySelectorAll(".uq-handle")[given[0]];
const box = handle.ownerSVGElement.getBoundingClientRect();
const at = (x, y) => ({ clientX: box.x + x * box.width, clientY: box.y + y * box.height, bubbles: true, pointerId: 1 });
handle.setPointerCapture = () => {};
handle.dispatchEvent(new PointerEvent("pointerdown", at(0, 0)));
handle.dispatchEvent(new PointerEvent("pointermove", at(given[1], given[2])));
handle.dispatchEvent(new PointerEvent("pointerup", at(given[1], given[2])));
"""
)


@pytest.fixture(scope="module", params=RENDERERS)
def page(comfy: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    with opened(comfy, request.param) as page:
        yield page


def graph(kind: str, seed: int, prefix: str = "", **options: Any) -> Graph:
    """The demo model under one of the three guidance nodes."""
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=2)
    conditions, chosen = {"positive": demo[1], "negative": demo[2]}, OPTIONS | options
    if kind == SAMPLER:
        latent = g.node(SAMPLER, model=demo[0], latent_image=demo[4], seed=seed, **conditions, **SAMPLING, **chosen)
    elif kind == GUIDANCE:
        model = g.node(GUIDANCE, model=demo[0], **chosen)
        latent = g.node("KSampler", model=model, latent_image=demo[4], seed=seed, **conditions, **SAMPLING)
    else:
        guider = g.node(GUIDER, model=demo[0], cfg=1.0, **conditions, **chosen)
        noise, sampler = g.node("RandomNoise", noise_seed=seed), g.node("KSamplerSelect", sampler_name="euler")
        sigmas = g.node("BasicScheduler", model=demo[0], scheduler="normal", steps=4, denoise=1.0)
        wires = {"noise": noise, "guider": guider, "sampler": sampler, "sigmas": sigmas, "latent_image": demo[4]}
        latent = g.node("SamplerCustomAdvanced", **wires)[0]
    g.node("PreviewImage", images=g.node("VAEDecode", samples=latent, vae=demo[3]))
    return g


def run(page: Browser, kind: str, seed: int, scale: float = 1.0, **options: Any) -> dict[str, Any]:
    """What the stage shows once the graph has run."""
    open_graph(page, graph(kind, seed, **options), f"stage {next(NUMBERS)}")
    look_at(page, kind, scale)
    queue(page)
    return page.wait_for(RUN_SHOWN)


@pytest.mark.parametrize("kind", [SAMPLER, GUIDANCE, GUIDER])
def test_curves_and_price_of_the_last_run_are_shown(page: Browser, kind: str) -> None:
    page.errors()
    now = run(page, kind, seed=101)
    assert now["runs"] == 2 and now["price"] == "+8 model calls, about ×3"
    assert (now["start"], now["end"], now["strength"], now["frames"]) == (0, 1, 0.02, [])
    assert page.errors() == []


def test_the_price_follows_the_inputs(page: Browser) -> None:
    run(page, SAMPLER, seed=102)
    prices = []
    for name, value in (("samples", 4), ("mode", "forward"), ("start_percent", 0.5), ("strength", 0.0)):
        page.run(SET, [name, value])
        prices.append(page.run(SHOWN)["price"])
    assert prices == ["+16 model calls, about ×5", "+32 model calls, about ×9", "+16 model calls, about ×5", "Off: no more model calls"]


def test_handles_set_the_widgets(page: Browser) -> None:
    run(page, SAMPLER, seed=103)
    page.run(DRAG, [0, 10 / 300 + 0.25 * 280 / 300, 0.5])
    page.run(DRAG, [1, 10 / 300 + 0.75 * 280 / 300, 0.5])
    values = page.run(VALUES)
    assert (values["start_percent"], values["end_percent"]) == (0.25, 0.75)
    page.run(DRAG, [0, 1.5, 0.5])
    assert page.run(VALUES)["start_percent"] == 0.75, "the start stops at the end"
    page.run(DRAG, [2, 0.5, 12 / 112])
    assert page.run(VALUES)["strength"] == 0.03
    press = NODE + "element.querySelectorAll('.uq-handle')[2].dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowUp' }));"
    page.run(press)
    assert page.run(VALUES)["strength"] == 0.035


def test_widgets_move_the_handles_and_nothing_of_ours_is_saved(page: Browser) -> None:
    run(page, SAMPLER, seed=104)
    page.run(SET, ["end_percent", 0.6])
    page.run(SET, ["strength", 0.1])
    now = page.run(SHOWN)
    assert (now["end"], now["strength"]) == (0.6, 0.1)
    saved = next(node for node in page.serialized()["nodes"] if node["type"] == SAMPLER)
    assert saved["widgets_values"][-8:] == [0.1, 0.0, 2, 0.0, 0.6, "posterior", "relative", "measured"]
    assert "uncertainty" not in str(saved["properties"]).replace("uncertainty-nodes", "").lower().replace("uq_uncertainty", "")


@pytest.mark.parametrize("kind", [SAMPLER, GUIDANCE, GUIDER])
def test_a_sweep_brings_its_pictures_into_the_stage(page: Browser, kind: str) -> None:
    page.errors()
    before = run(page, kind, seed=105)
    saved = page.prompt()
    page.run(SWEEP)
    now = page.wait_for(SWEPT)
    assert now["frames"] == ["0", "0.01", "0.02", "0.03", "0.04"] and now["name"] == "strength 0.02"
    assert now["price"] == before["price"], "the price is that of the whole run, not of the sweep"
    assert page.prompt() == saved
    assert page.errors() == []


def test_dragging_goes_from_picture_to_picture(page: Browser) -> None:
    run(page, SAMPLER, seed=106)
    page.run(SWEEP)
    page.wait_for(SWEPT)
    page.run(SLIDE, 50)
    now = page.run(SHOWN)
    assert page.run(VALUES)["strength"] == 0.005
    assert (now["name"], now["fade"]) == ("between 0 and 0.01", "0.5")
    page.run(SLIDE, 0)
    assert page.run(SHOWN)["name"] == "unguided" and page.run(VALUES)["strength"] == 0
    page.run(NODE + "element.querySelectorAll('.uq-frame')[3].click();")
    assert page.run(VALUES)["strength"] == 0.03


def test_the_percentile_is_an_outline(page: Browser) -> None:
    now = run(page, SAMPLER, seed=107)
    assert now["outline"] == 0
    page.run(SET, ["percentile", 80.0])
    page.wait_for(f"const now = (() => {{ {SHOWN} }})(); return now.outline > 0;")


def test_the_pictures_are_still_there_when_the_workflow_is_opened_again(page: Browser) -> None:
    open_graph(page, graph(GUIDANCE, seed=108), f"stage {next(NUMBERS)}")
    page.load(page.serialized() | {"id": str(uuid4())})  # what came from a prompt has none of its own
    queue(page)
    page.wait_for(RUN_SHOWN)
    page.run(SWEEP)
    before = page.wait_for(SWEPT)
    workflow = page.serialized()
    open_graph(page, graph(SAMPLER, seed=1), "another")
    page.load(workflow)
    look_at(page, GUIDANCE)
    now = page.wait_for(SWEPT)
    assert (now["frames"], now["price"], now["runs"]) == (before["frames"], before["price"], before["runs"])


def test_it_works_in_a_subgraph_and_zoomed_out(page: Browser) -> None:
    open_graph(page, graph(GUIDANCE, seed=109), f"stage {next(NUMBERS)}")
    page.errors()
    page.run(INTO_SUBGRAPH, GUIDANCE)
    queue(page)
    page.run(ENTER)
    look_at(page, GUIDANCE, 0.5)
    assert page.wait_for(RUN_SHOWN)["price"] == "+8 model calls, about ×3"
    page.run(SWEEP)
    page.wait_for(SWEPT)
    page.run(DRAG, [0, 10 / 300 + 0.25 * 280 / 300, 0.5])
    assert page.run(VALUES)["start_percent"] == 0.25
    assert page.errors() == []


def test_what_cannot_be_swept_is_told(page: Browser) -> None:
    g = graph(GUIDANCE, seed=110)
    for node, inputs in list(g.items()):
        if inputs["class_type"] in ("VAEDecode", "PreviewImage"):
            del g[node]
    open_graph(page, g, f"stage {next(NUMBERS)}")
    page.run(SWEEP)
    page.wait_for(f"const now = (() => {{ {SHOWN} }})(); return now.trouble.includes('Connect a VAE Decode') && now;")
    page.run(SET, ["preset", "paper"])
    assert page.run(NODE + "return element.querySelector('.uq-button').disabled;")


def test_a_copy_has_a_stage_of_its_own(page: Browser) -> None:
    page.errors()
    run(page, SAMPLER, seed=111)
    page.run(NODE + "app.canvas.selectNodes([node]); app.canvas.copyToClipboard(); app.canvas.pasteFromClipboard();")
    copies = "const all = app.graph.nodes.filter(n => n.comfyClass === 'UQ_UncertaintyGuidedSampler');"
    page.run(copies + "const w = all.at(-1).widgets.find(w => w.name === 'strength'); w.callback(w.value = 0.5);")
    element = "n.widgets.find(w => w.name === 'uncertainty_stage').element"
    values = f"{copies} return all.map(n => {element}.querySelectorAll('.uq-handle')[2].ariaValueNow);"
    assert page.run(values) == ["0.02", "0.5"]
    assert page.errors() == []
