"""The panels of sampling, guidance and reports: one row each for tests/web/panels/test_panels.py."""

from __future__ import annotations

from comfy_graph import Graph
from panels import Panel

SAMPLING = {"cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
GUIDANCE = {"strength": 0.02, "percentile": 0.0, "samples": 2, "start_percent": 0.0, "end_percent": 1.0}
GUIDANCE |= {"mode": "posterior", "units": "relative", "preset": "measured"}
SAMPLER, REPORT = "UQ_UncertaintyGuidedSampler", "UQ_Report"


def sampled(seed: int) -> Graph:
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=2)
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "latent_image": demo[4]}
    latent = g.node(SAMPLER, **wires, seed=seed, steps=4, **SAMPLING, **GUIDANCE)
    g.node("PreviewImage", images=g.node("VAEDecode", samples=latent, vae=demo[3]))
    g.node(REPORT, uncertainty=latent[1])
    return g


def reported(seed: int) -> Graph:
    g = Graph()
    scored = g.node("UQTest_Uncertainty", scores="0.4,0.1,0.3,0.2", direction="high_is_bad", frames=0, salt=seed)
    kept = g.node("UQ_SampleFilter", uncertainty=scored, rule="keep_best_count", value=3.0)
    g.node(REPORT, uncertainty=scored, accepted_indexes=kept[6])
    return g


CURVE = Panel(
    name="uncertainty_curve",
    kind=SAMPLER,
    graph=sampled,
    shown="""
    const lines = [...element.querySelectorAll(".uq-curve polyline")].map(line => line.points.length);
    const [title, stop] = [element.querySelector(".uq-head > span"), element.querySelector(".uq-push")];
    return stop?.hidden && lines.length ? { lines, title: title.textContent } : null;""",
    act='const curve = element.querySelector(".uq-curve"); curve.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));',
    acted="""
    const legend = element.querySelector(".uq-legend").textContent;
    return element.querySelectorAll("polyline.uq-on").length === 1 && legend.startsWith("image 0");""",
)
REPORTS = Panel(
    name="uncertainty_report",
    kind=REPORT,
    graph=reported,
    shown="""
    const rows = [...element.querySelectorAll("tbody tr")].map(row => Number(row.dataset.image)).sort();
    const marks = selector => element.querySelectorAll(selector).length;
    return rows.length ? { rows, curves: marks("polyline"), dropped: marks("polyline.uq-dropped"), lines: marks(".uq-mark") } : null;""",
    act='element.querySelectorAll("th button")[0].click();',
    acted='return [...element.querySelectorAll("tbody tr")].map(row => row.dataset.image).join("") === "0123";',
)
STAGE = Panel(
    name="uncertainty_stage",
    kind=SAMPLER,
    graph=sampled,
    shown="""
    const curves = element.querySelectorAll(".uq-run").length;
    return curves ? { curves, price: element.querySelector(".uq-price").textContent } : null;""",
    act="""
    const handle = element.querySelectorAll(".uq-handle")[1];
    handle.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));""",
    acted='return node.widgets.find(widget => widget.name === "end_percent").value === 0.99;',
)
ROWS = (CURVE, REPORTS, STAGE)
