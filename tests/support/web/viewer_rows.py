"""The panels of heatmaps and filters: one row each for tests/web/panels/test_panels.py."""

from __future__ import annotations

from comfy_graph import Graph, Node
from panels import Panel

HEATMAP, FILTER = "UQ_Heatmap", "UQ_SampleFilter"


def scored(g: Graph, seed: int) -> dict[str, Node]:
    result = g.node("UQTest_Uncertainty", scores="0.4,0.1,0.3,0.2", direction="high_is_bad", frames=0, salt=seed)
    return {"uncertainty": result, "images": g.node("UQTest_NumberedImages", first=20, count=4, size=64)}


def viewed(seed: int) -> Graph:
    g = Graph()
    g.node("PreviewImage", images=g.node(HEATMAP, **scored(g, seed), opacity=0.6, colormap="inferno", percentile=90.0))
    return g


def filtered(seed: int) -> Graph:
    g = Graph()
    kept = g.node(FILTER, **scored(g, seed), rule="keep_best_count", value=3.0)
    g.node("UQTest_SaveValue", value=kept[6])
    g.node("PreviewImage", images=kept)
    return g


VIEWER = Panel(
    name="uncertainty_viewer",
    kind=HEATMAP,
    graph=viewed,
    shown="""
    const pane = element.querySelector(".uq-pane");
    if (!pane || element.querySelector("[aria-busy]") || !pane.querySelector("img")) return null;
    const outline = pane.querySelector(".uq-outline").getAttribute("d").length;
    return { page: element.querySelector(".uq-page").textContent, name: pane.querySelector(".uq-name").textContent, outline };""",
    act="""
    const press = key => element.querySelector(".uq-stage").dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    press("ArrowRight");
    const slider = element.querySelector("input");
    slider.value = 0.25;
    slider.dispatchEvent(new Event("input"));""",
    acted="""
    if (element.querySelector("[aria-busy]") || !element.querySelector(".uq-name").textContent.startsWith("image 1")) return false;
    return node.widgets[0].value === 0.25 && element.querySelector("canvas").style.opacity === "0.25";""",
)
LINE = Panel(
    name="uncertainty_filter",
    kind=FILTER,
    graph=filtered,
    shown="""
    const images = [...element.querySelectorAll(".uq-chip")].map(chip => chip.textContent);
    return images.length ? { images, headline: element.querySelector(".uq-headline").textContent } : null;""",
    act="""
    const key = { key: "ArrowLeft", bubbles: true, cancelable: true };
    element.querySelector(".uq-line").dispatchEvent(new KeyboardEvent("keydown", key));""",
    acted="""
    const words = element.querySelector(".uq-headline").textContent;
    return words === "2 of 4 would pass" && node.widgets.find(widget => widget.name === "value").value === 2;""",
)
ROWS = (VIEWER, LINE)
