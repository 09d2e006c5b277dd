"""What a frame of the live curve costs in ComfyUI's own page: COMFYUI_PATH=... COMFYUI_PYTHON=... python benchmarks/cost/frames.py

Pages are loaded anew, and each gets the messages of runs of 64 images that grow by a step a frame, as a server would send them: the first
run when nothing of the script is compiled and nothing is drawn yet, the others over the band of those before. Milliseconds of our script in
each frame, with what it reads of earlier runs. A frame's figure is the median over pages, so that what else the machine does at that moment
counts little; the worst of all is told too. On a busy machine run it by chrt -r 5. Needs selenium, Chromium and its driver.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from uncertainty_nodes.benchmarks.shared.common import write

SUPPORT = Path(__file__).resolve().parents[2] / "tests" / "support"
sys.path[:0] = [str(SUPPORT / folder) for folder in ("web", "comfyui")]

from browser import Browser, why_not  # noqa: E402
from comfy_installations import installations  # noqa: E402
from comfy_server import Server  # noqa: E402
from panel_rows import SAMPLER, sampled  # noqa: E402
from renderers import look_at, open_graph, opened  # noqa: E402

RUNS = ("first", "second", "third")  # of each page
# Only frames that our script asks for while it hears a message, or while it draws.
PLAY = """
const { api } = app, node = app.graph.nodes.find(node => node.comfyClass === given.kind);
const ask = window.requestAnimationFrame;
let [isOurs, spent] = [false, null];
window.requestAnimationFrame = callback => !isOurs ? ask(callback) : ask(time => {
  const start = performance.now();
  isOurs = true;
  try { callback(time); } finally { isOurs = false; spent += performance.now() - start; }
});
const value = (step, image, run) => 5 / (1 + step) + 0.3 * Math.sin(image + 0.3 * step + run);
const head = { of: given.steps, span: [0, given.steps - 1], axis: "step", direction: "high_is_bad", limit: null, usual: null };
const runs = [];
for (let run = 0; run < given.runs; run += 1) {
  const frames = [];
  for (let from = 0; from < given.steps; from += 1) {
    const scores = Array.from({ length: given.images }, (_, image) => value(from, image, run));
    const place = { node: String(node.id), kind: given.kind, prompt: "p", workflow: null };
    const detail = { ...place, ...head, run: `r${run}`, from, steps: [[from, 15 - from / 4, scores]], done: from === given.steps - 1 };
    spent = 0;
    const start = performance.now();
    isOurs = true;
    api.dispatchEvent(new CustomEvent("uncertainty.live", { detail }));
    isOurs = false;
    spent += performance.now() - start;
    await new Promise(ask);
    await new Promise(done => setTimeout(done));
    frames.push(spent);
  }
  runs.push(frames);
  await new Promise(done => setTimeout(done, 300));
}
window.requestAnimationFrame = ask;
const lines = node.widgets.find(widget => widget.name === "uncertainty_curve").element.querySelectorAll("polyline").length;
return { runs, lines };
"""


def play(page: Browser, images: int, steps: int) -> list[list[float]]:
    """Milliseconds of each frame of each run of a page that was just loaded."""
    open_graph(page, sampled(1), "frames")
    look_at(page, SAMPLER)
    played = page.run(PLAY, {"kind": SAMPLER, "images": images, "steps": steps, "runs": len(RUNS)})
    if played["lines"] != images:
        raise RuntimeError(f"{played['lines']} lines are drawn, not {images}")
    return played["runs"]


def summary(pages: list[list[float]]) -> dict[str, float]:
    """Of one run in several pages."""
    typical = [statistics.median(frames) for frames in zip(*pages, strict=True)]
    figures = {"first_frame_ms": typical[0], "median_ms": statistics.median(typical), "worst_frame_ms": max(typical)}
    return {name: round(value, 2) for name, value in (figures | {"worst_of_all_ms": max(map(max, pages))}).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--pages", type=int, default=9)
    a, copy = parser.parse_args(), installations()[0]
    if reason := copy.why_not() or why_not():
        sys.exit(reason)
    found: dict[str, Any] = {"comfyui": copy.version, "images": a.images, "steps": a.steps, "pages": a.pages}
    found["load"] = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as base, Server(Path(base), copy=copy) as comfy:
        for renderer in ("canvas", "vue"):
            pages = []
            for _ in range(a.pages):
                with opened(comfy, renderer) as page:
                    pages.append(play(page, a.images, a.steps))
            found[renderer] = {name: summary([page[i] for page in pages]) for i, name in enumerate(RUNS)}
    print(json.dumps(found, indent=1))
    print(f"Wrote {write('frames', found)}")


if __name__ == "__main__":
    main()
