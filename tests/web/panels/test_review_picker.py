"""The full-screen review in ComfyUI's own front-end: keys, endings, two pages, a page that is loaded again, hostile names."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from browser import Browser, why_not
from comfy_client import History
from comfy_review import Reviewed
from comfy_server import Server
from renderers import RENDERERS, open_graph, opened, queue

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

SALTS = count(1000)
OPEN = "return document.querySelectorAll('dialog.uq-review[open]').length"
SEEN = """
const dialog = document.querySelector('dialog.uq-review[open]');
if (!dialog?.querySelector('.uq-card, .uq-large')) return null;
const cards = [...dialog.querySelectorAll('.uq-card')];
return { cards: cards.map(card => card.textContent), on: cards.findIndex(card => card.classList.contains('uq-on')),
  large: dialog.querySelectorAll('.uq-large').length, done: dialog.querySelector('.uq-primary').textContent,
  pictures: [...dialog.querySelectorAll('img')].filter(image => image.complete && image.naturalWidth).length,
  sources: [...dialog.querySelectorAll('img')].map(image => image.src), focus: dialog.contains(document.activeElement),
  dots: dialog.querySelectorAll('.uq-strip g').length, line: dialog.querySelectorAll('.uq-strip .uq-mark').length };
"""

SHOWN = f"""
const seen = (() => {{ {SEEN} }})();
return seen && seen.pictures === seen.sources.length ? seen : null;
"""
HINT = """
const node = app.graph.nodes.find(node => node.comfyClass === "UQ_SampleFilter");
return [...node.widgets.find(widget => widget.name === "uncertainty_filter").element.querySelectorAll(":scope > p")].at(-1)?.textContent;
"""


@pytest.fixture(scope="module", params=RENDERERS)
def page(comfy: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    with opened(comfy, request.param) as page:
        yield page


@pytest.fixture(autouse=True)
def _nothing_left(comfy: Server) -> Iterator[None]:
    yield
    comfy.cancel()


def start(page: Browser, **options: object) -> Reviewed:
    r = Reviewed(salt=next(SALTS), **options)
    open_graph(page, r.graph, f"review {next(SALTS)}")
    queue(page)
    return r


def press(page: Browser, *keys: str) -> None:
    for key in keys:
        page.run(
            "const at = document.activeElement.closest('dialog') ? document.activeElement : document.querySelector('dialog.uq-review');"
            "at.dispatchEvent(new KeyboardEvent('keydown', { key: given, bubbles: true, cancelable: true }));",
            key,
        )


def finished(comfy: Server, page: Browser, r: Reviewed) -> dict[str, str]:
    """What the latest run gave."""
    page.wait_for(f"{OPEN} === 0")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        runs = list(comfy.get("/history").items())
        if runs and str(r.filter) in runs[-1][1]["outputs"] and "sentence" not in runs[-1][1]:
            history = History(runs[-1][0], runs[-1][1]["status"], runs[-1][1]["outputs"])
            shown = history.outputs[str(r.filter)]["text"][-1]
            if runs[-1][1]["prompt"][2]["1"]["inputs"]["salt"] == r.graph["1"]["inputs"]["salt"] and shown:
                page.wait_for(f"return (() => {{ {HINT} }})() === {json.dumps(shown)};")  # the page's words are the server's
                return r.read(comfy, history)
        time.sleep(0.1)
    raise TimeoutError("the run did not end")


def test_keys_decide_and_the_answer_arrives(comfy: Server, page: Browser) -> None:
    page.errors()
    r = start(page)
    seen = page.wait_for(SHOWN)
    assert len(seen["cards"]) == seen["pictures"] == seen["dots"] == 2 and seen["line"] == 1 and seen["focus"]
    assert "Accepted" in seen["cards"][0] and "Rejected" in seen["cards"][1] and seen["on"] == 0
    press(page, "r", "2")
    seen = page.run(SEEN)
    assert seen["done"].startswith("Done: accept 1, reject 1") and seen["on"] == 1
    press(page, " ")
    assert page.run(SEEN)["large"] == 1
    plain = page.run(SEEN)["sources"]
    press(page, "h")
    assert page.run(SEEN)["sources"] != plain
    press(page, "Escape")
    assert page.run(SEEN)["large"] == 0
    press(page, "Enter")
    found = finished(comfy, page, r)
    assert (found["accepted"], found["yes"], found["no"]) == ("0,1,3", "0", "2")
    assert page.errors() == []


def test_the_title_of_the_tab_tells_that_a_review_waits(comfy: Server, page: Browser) -> None:
    start(page)
    page.wait_for(SEEN)
    assert page.run("return document.title;").startswith("(review waits) ")
    page.run("document.title = '[50%] ComfyUI'; await new Promise(done => setTimeout(done, 100));")  # as the host does
    assert page.run("return document.title;") == "(review waits) [50%] ComfyUI"
    press(page, "Enter")
    page.wait_for(f"{OPEN} === 0")
    assert not page.run("return document.title;").startswith("(")


def strike(page: Browser, *keys: str) -> dict[str, Any]:
    """Real keys, as the system sends them; what is seen then."""
    from selenium.webdriver import ActionChains

    for key in keys:
        ActionChains(page.driver).send_keys(key).perform()
    return page.run(SEEN)


def test_every_key_does_what_the_view_says_of_it(comfy: Server, page: Browser) -> None:
    from selenium.webdriver import Keys

    r = start(page, band=100.0)  # six images, three in a row
    page.wait_for(SHOWN)
    columns = page.run("return getComputedStyle(document.querySelector('.uq-grid')).gridTemplateColumns.split(' ').length;")
    moves = [(Keys.ARROW_RIGHT, 1), (Keys.ARROW_LEFT, 0), (Keys.ARROW_DOWN, columns), (Keys.ARROW_UP, 0), (Keys.END, 5), (Keys.HOME, 0)]
    assert [strike(page, key)["on"] for key, _ in moves] == [at for _, at in moves]
    for digit in range(1, 10):
        before, after = page.run(SEEN)["cards"], strike(page, str(digit))["cards"]
        turned = [i + 1 for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        assert turned == ([digit] if digit <= 6 else [])
    assert strike(page, Keys.HOME, "a")["cards"][0].startswith("1⤢✓ Accepted")
    assert strike(page, "R")["cards"][0].startswith("1⤢✕ Rejected")
    plain = page.run(SEEN)["sources"]
    assert strike(page, "h")["sources"] != plain and strike(page, "H")["sources"] == plain
    assert strike(page, Keys.SPACE)["large"] == 1 and strike(page, Keys.SPACE)["large"] == 0
    assert strike(page, Keys.SPACE, Keys.ARROW_RIGHT, "r", Keys.ESCAPE)["on"] == 1
    assert page.run(SEEN)["cards"][1].startswith("2⤢✕ Rejected")
    assert strike(page, Keys.CONTROL + "a")["large"] == 0  # the browser's own
    before = page.run(SEEN)["done"]
    assert strike(page, Keys.TAB, Keys.TAB)["done"] == before, "Tab goes round and decides nothing"
    page.run("document.querySelector('[data-key=heat]').focus();")
    assert strike(page, Keys.ENTER)["sources"] != plain, "Enter presses the button that has the focus"
    strike(page, Keys.ARROW_DOWN, Keys.ENTER)
    found = finished(comfy, page, r)
    assert found["sentence"].endswith("you decided.") and len(found["yes"].split(",")) + len(found["no"].split(",")) == 6


@pytest.mark.parametrize("finger", [False, True], ids=["mouse", "finger"])
def test_a_mouse_or_a_finger_zooms_turns_pages_and_decides(comfy: Server, page: Browser, finger: bool) -> None:
    r = start(page)
    page.wait_for(SHOWN)

    def tap(selector: str) -> dict[str, Any]:
        box = page.run(
            "const b = document.querySelector(given).getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2];", selector
        )
        at = {"x": box[0], "y": box[1]}
        if finger:
            page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
            page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        else:
            for kind in ("mousePressed", "mouseReleased"):
                page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, **at, "button": "left", "clickCount": 1})
        page.run("await new Promise(done => setTimeout(done, 400));")
        return page.run(SEEN)

    assert tap(".uq-card .uq-zoom")["large"] == 1
    assert tap("[data-key=next]")["large"] == 1
    assert tap("[data-key=verdict]")["done"].startswith("Done: accept 2, reject 0")
    assert tap(".uq-shown")["large"] == 0
    assert tap(".uq-card .uq-picture")["done"].startswith("Done: accept 1, reject 1")
    tap(".uq-primary")
    found = finished(comfy, page, r)
    assert (found["yes"], found["no"]) == ("0", "2")


def test_clicks_decide_too(comfy: Server, page: Browser) -> None:
    r = start(page)
    page.wait_for(SEEN)
    page.run("document.querySelectorAll('.uq-card')[0].click();")
    page.run("document.querySelector('.uq-primary').click();")
    assert finished(comfy, page, r)["accepted"] == "1,3"


def test_one_image_and_none(comfy: Server, page: Browser) -> None:
    r = start(page, scores="0.2", value=0.0, band=50.0)
    page.wait_for(SEEN)
    assert len(page.run(SEEN)["cards"]) == 1
    press(page, "a", "Enter")
    assert finished(comfy, page, r)["accepted"] == "0"
    r = start(page, band=1.0)
    assert finished(comfy, page, r)["sentence"] == "Review: no image is near the line."
    assert page.run(OPEN) == 0


def test_escape_leaves_it_to_the_rule(comfy: Server, page: Browser) -> None:
    r = start(page)
    page.wait_for(SEEN)
    press(page, "r", "Escape")
    found = finished(comfy, page, r)
    assert found["accepted"] == "1,2,3" and found["sentence"].endswith("you left them to the rule.")


def test_time_ends_it_and_the_view_goes_away(comfy: Server, page: Browser) -> None:
    page.errors()
    r = start(page, review_seconds=2, unanswered="reject")
    page.wait_for(SEEN)
    found = finished(comfy, page, r)
    assert found["accepted"] == "1,3" and found["sentence"].endswith("nobody decided in time.")
    assert page.errors() == []


def test_the_pages_setting_is_the_time_and_the_node_says_what_happens_then(comfy: Server, page: Browser) -> None:
    page.run("await app.extensionManager.setting.set('Uncertainty.Review.Timeout', given);", 2)
    try:
        r = start(page, review_seconds=0, unanswered="set_aside")
        words = page.wait_for("return document.querySelector('dialog.uq-review .uq-time')?.textContent;")
        assert words.endswith("leftthen they are set aside")
        found = finished(comfy, page, r)
        assert found["unsure"] == "0,2" and found["sentence"].endswith("nobody decided in time.")
    finally:
        page.run("await app.extensionManager.setting.set('Uncertainty.Review.Timeout', given);", 120)


def test_the_run_can_be_stopped_from_it(comfy: Server, page: Browser) -> None:
    start(page)
    page.wait_for(SEEN)
    ((_, prompt, *_),) = comfy.get("/queue")["queue_running"]
    page.run("[...document.querySelectorAll('dialog.uq-review header button')][1].click();")
    page.wait_for(f"{OPEN} === 0")
    assert comfy.wait(prompt).status["status_str"] == "error"


def test_a_page_that_is_loaded_again_asks_again(comfy: Server, page: Browser) -> None:
    r = start(page)
    page.wait_for(SEEN)
    page.driver.refresh()
    page.wait_for(SEEN, 90)
    press(page, "r", "Enter")
    assert finished(comfy, page, r)["accepted"] == "1,3"


def test_another_page_is_not_asked(comfy: Server, page: Browser) -> None:
    with Browser(comfy.url) as other:
        r = start(page)
        page.wait_for(SEEN)
        time.sleep(1)
        assert other.run(OPEN) == 0
        press(page, "Enter")
        assert finished(comfy, page, r)["accepted"] == "1,2,3"
