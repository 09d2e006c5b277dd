"""What one frame of the live curve does to the page, counted: little from the first step of a run to the last. No ComfyUI needed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from browser import Browser, why_not

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")
WEB = Path(__file__).parents[3] / "web"
READY = "return document.readyState === 'complete';"
IMAGES, STEPS = 64, 50
SCENE = 12  # elements of axes, words and band
# A run that grows by a step a frame, over the band of the runs before it. Of each frame: elements that were added, and attributes set.
GROW = """
const { drawCurve, makeCurve } = await import("/js/live/curve.js");
const { remember } = await import("/js/live/runs.js");
document.body.innerHTML = '<div style="width: 300px" class="uq"></div>';
const words = () => ({ left: "step 1", right: "50", label: "", levels: ["lower", "usual", "higher"] });
const curve = makeCurve(words, () => {});
document.querySelector(".uq").append(curve.element);
await new Promise(requestAnimationFrame);
const head = { of: given.steps, span: [0, given.steps - 1], axis: "step", direction: "high_is_bad", limit: null };
const score = (step, image, run) => 5 / (1 + step) + 0.3 * Math.sin(image + 0.3 * step + run);
const steps = run => Array.from({ length: given.steps }, (_, step) =>
  [step, 15 - step / 4, Array.from({ length: given.images }, (_, image) => score(step, image, run))]);
let earlier = [];
const runs = [];
for (const name of ["first", "second"]) {
  const whole = { ...head, run: name, steps: steps(runs.length) }, frames = [];
  for (let step = 1; step <= given.steps; step += 1) {
    const watcher = new MutationObserver(() => {});
    watcher.observe(curve.element, { subtree: true, childList: true, attributes: true });
    const { isWhole, canCompare } = drawCurve(curve, { ...whole, steps: whole.steps.slice(0, step) }, earlier);
    const seen = watcher.takeRecords();
    watcher.disconnect();
    const added = seen.reduce((sum, record) => sum + record.addedNodes.length, 0);
    const lines = curve.element.querySelectorAll("polyline").length;
    const points = curve.points.reduce((sum, each) => sum + each.length, 0);
    frames.push({ added, set: seen.filter(record => record.type === "attributes").length, lines, points, isWhole, canCompare });
  }
  earlier = remember(earlier, whole);
  runs.push(frames);
}
return runs;
"""


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def page() -> Iterator[Browser]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(WEB))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with Browser(f"http://127.0.0.1:{server.server_port}/docs/UQ_Report.md", ready=READY) as page:
            yield page
        server.shutdown()


@pytest.fixture(scope="module")
def runs(page: Browser) -> list[list[dict[str, Any]]]:
    return page.run(GROW, {"images": IMAGES, "steps": STEPS})


def test_no_frame_makes_many_elements(page: Browser, runs: list[list[dict[str, Any]]]) -> None:
    most = page.run('return (await import("/js/live/curve.js")).MOST_NEW;')
    first, second = runs
    assert 0 < first[0]["lines"] <= most < IMAGES and not first[0]["isWhole"]
    assert max(frame["added"] for frame in first) <= 2 * most + SCENE
    assert first[-1]["lines"] == IMAGES and first[-1]["isWhole"] and [frame["lines"] for frame in second] == [IMAGES] * STEPS
    assert max(frame["added"] for frame in second) <= SCENE, "the lines of the run before are used again"


def test_no_frame_sets_more_than_what_has_changed(runs: list[list[dict[str, Any]]]) -> None:
    for frames in runs:
        for before, frame in zip(frames, frames[1:], strict=False):
            new = frame["lines"] - before["lines"]
            assert frame["set"] <= 2 * frame["lines"] + 2 * IMAGES * (new > 0) + IMAGES, "points, last dots, and colours that change"
    assert min(frame["set"] for frame in runs[1][1:]) <= 2.5 * IMAGES


def test_a_frame_draws_each_score_once_and_compares_with_the_run_before(runs: list[list[dict[str, Any]]]) -> None:
    first, second = runs
    assert [frame["points"] for frame in second] == [IMAGES * step for step in range(1, STEPS + 1)]
    assert not any(frame["canCompare"] for frame in first) and all(frame["canCompare"] for frame in second)
