"""One workflow with every panel of ours in it, run once."""

from __future__ import annotations

from browser import Browser
from comfy_graph import Graph
from renderers import open_graph, queue

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


def spread(page: Browser) -> None:
    """No node on another: the first Vue nodes put all that comes from a prompt in one place."""
    workflow = page.serialized()
    for i, node in enumerate(workflow["nodes"]):
        node["pos"] = [900 * i, 0]
    page.load(workflow)


def run_all(page: Browser) -> None:
    open_graph(page, graph(), "all panels")
    spread(page)
    queue(page)
    page.wait_for(f"return {panel('UQ_Report', 'uncertainty_report')}.querySelector('table');", 90)
