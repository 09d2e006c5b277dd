"""How long the live curve takes for a frame: python tests/web/panels/measure_curve.py [images] [steps]

A run of 64 images grows by a step each frame, over the band of twelve earlier runs, in a real Chromium without a screen and without
ComfyUI, which the chart doesn't need. Prints milliseconds of the script alone and with the layout that it causes.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median, quantiles
from threading import Thread

HERE = Path(__file__).resolve().parents[2]
sys.path += [str(HERE / "support" / folder) for folder in ("web", "comfyui")]
from browser import Browser, why_not  # noqa: E402

ROOT = HERE.parent / "web"
READY = "return document.readyState === 'complete';"
MEASURE = """
const { drawCurve, makeCurve } = await import("/js/live/curve.js");
const { useTheme } = await import("/js/shared/theme.js");
useTheme();
document.body.innerHTML = '<div style="width: 300px; height: 204px"><div class="uq" data-place></div></div>';
const words = () => ({ left: "step 1", right: "50", label: "" });
const curve = makeCurve(words, () => {});
document.querySelector("[data-place]").append(curve.element);
const value = (step, image, run) => 5 / (1 + step) + 0.3 * Math.sin(image + 0.3 * step + run);
const steps = run => Array.from({ length: given.steps }, (_, step) =>
  [step, 15 - step / 4, Array.from({ length: given.images }, (_, image) => value(step, image, run))]);
const head = { of: given.steps, span: [0, given.steps - 1], axis: "step", direction: "high_is_bad", limit: null };
const earlier = Array.from({ length: 12 }, (_, run) => ({ ...head, run: `e${run}`, steps: steps(run) }));
const whole = steps(99);
const frames = [];
for (let round = 0; round < 4; round += 1)
  for (let step = 1; step <= given.steps; step += 1) {
    await new Promise(requestAnimationFrame);
    const start = performance.now();
    drawCurve(curve, { ...head, run: `r${round}`, steps: whole.slice(0, step) }, earlier);
    const drawn = performance.now();
    curve.element.getBoundingClientRect();
    curve.front.getBBox();
    frames.push([drawn - start, performance.now() - start]);
  }
return frames.slice(given.steps); // the first round compiles the script
"""


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


def main(images: int = 64, steps: int = 50) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(ROOT)))
    Thread(target=server.serve_forever, daemon=True).start()
    with Browser(f"http://127.0.0.1:{server.server_port}/docs/UQ_Report.md", ready=READY) as page:
        frames = page.run(MEASURE, {"images": images, "steps": steps})
    server.shutdown()
    for name, values in zip(("script", "script and layout"), zip(*frames, strict=True), strict=True):
        told = {"median": median(values), "95 %": quantiles(values, n=20)[-1], "worst": max(values)}
        figures = json.dumps({key: round(value, 2) for key, value in told.items()})
        sys.stdout.write(f"{name}, {images} curves, {len(values)} frames, ms: {figures}\n")


if __name__ == "__main__":
    if reason := why_not():
        sys.exit(reason)
    main(*map(int, sys.argv[1:]))
