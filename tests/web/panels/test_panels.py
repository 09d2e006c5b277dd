"""Every panel of ours in ComfyUI's own front-end and both of its renderers: it shows a run, follows a user, and goes on doing so."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

import panel_rows
import viewer_rows
from browser import Browser, why_not
from comfy_server import Server
from panels import COPY, Panel, reload
from renderers import ENTER, INTO_SUBGRAPH, RENDERERS, look_at, opened, queue

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")
HOSTS_OWN = "Attempted to cleanup event listeners for graph that was never set up"  # ComfyUI 0.8.0, when a subgraph is made
PANELS = (*panel_rows.ROWS, *viewer_rows.ROWS)


@pytest.fixture(scope="module", params=RENDERERS)
def page(comfy: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    with opened(comfy, request.param) as page:
        yield page


@pytest.fixture(scope="module")
def other(comfy: Server, page: Browser) -> Iterator[Browser]:
    """Another page, with the same renderer."""
    with Browser(comfy.url) as other:
        yield other


@pytest.fixture(autouse=True)
def silent(page: Browser) -> Iterator[None]:
    """No error is written to the console."""
    page.errors()
    yield
    assert [message for message in page.errors() if HOSTS_OWN not in message] == []


# Keeps back what the server tells of the run, as a busy page or a slow line does, until another workflow is open.
HELD_UP = """
window.ended = false;
const { api } = app, kept = [];
const send = api.dispatchCustomEvent;
api.dispatchCustomEvent = (type, detail) => {
  if (!type.startsWith("exec") && !type.startsWith("progress") && !type.startsWith("uncertainty.")) return send.call(api, type, detail);
  kept.push([type, detail]);
  return true;
};
window.letGo = () => {
  delete api.dispatchCustomEvent;
  api.addEventListener("execution_success", () => { window.ended = true; }, { once: true });
  for (const [type, detail] of kept) api.dispatchCustomEvent(type, detail);
  return kept.length;
};
"""

every = pytest.mark.parametrize("panel", PANELS, ids=str)


@every
def test_it_shows_a_run_and_follows_a_user(page: Browser, panel: Panel) -> None:
    panel.open(page)
    assert panel.read(page) is None, "nothing is shown before anything ran"
    queue(page)
    shown = panel.wait(page)
    assert page.run(panel.script("return element.scrollWidth - element.clientWidth;")) <= 1, "nothing is cut on its sides"
    panel.use(page)
    assert shown


@every
def test_a_cached_run_shows_the_same(page: Browser, panel: Panel) -> None:
    workflow = panel.open(page)
    queue(page)
    shown = panel.wait(page)
    panel.reopen(page, workflow | {"id": str(uuid4())})
    page.run("app.nodeOutputs = {};")
    assert panel.read(page) is None
    queue(page)
    assert panel.wait(page) == shown


@every
def test_it_is_seen_from_far_away(page: Browser, panel: Panel) -> None:
    panel.open(page)
    queue(page)
    shown = panel.wait(page)
    look_at(page, panel.kind, 0.35)
    assert panel.wait(page) == shown
    panel.use(page)
    look_at(page, panel.kind)


@every
def test_a_copy_has_a_panel_of_its_own(page: Browser, panel: Panel) -> None:
    panel.open(page)
    queue(page)
    shown = panel.wait(page)
    page.run(COPY)
    assert panel.read(page, 1) is None and panel.read(page) == shown
    queue(page)
    assert panel.wait(page, 1) == shown
    panel.use(page, 1)
    assert panel.read(page) == shown


@every
def test_it_works_inside_a_subgraph(page: Browser, panel: Panel) -> None:
    panel.open(page)
    page.run(INTO_SUBGRAPH, panel.kind)
    queue(page)
    page.run(ENTER)
    look_at(page, panel.kind)
    assert panel.wait(page)
    panel.use(page)


@every
def test_it_is_back_when_its_workflow_is_opened_again(page: Browser, panel: Panel) -> None:
    workflow = panel.open(page)
    queue(page)
    shown = panel.wait(page)
    panel.open(page)
    assert panel.read(page) is None, "another workflow with the same ids"
    panel.reopen(page, workflow)
    assert panel.wait(page) == shown
    panel.use(page)


@every
def test_it_is_back_when_the_page_is_loaded_again(page: Browser, panel: Panel) -> None:
    panel.open(page)
    queue(page)
    shown = panel.wait(page)
    reload(page)
    look_at(page, panel.kind)
    page.errors()  # of the host's own start
    assert panel.wait(page) == shown
    panel.use(page)


@every
def test_a_page_shows_what_it_has_queued_itself(page: Browser, other: Browser, panel: Panel) -> None:
    workflow = panel.open(page)
    panel.reopen(other, workflow)
    queue(page)
    assert panel.wait(page)
    assert panel.read(other) is None
    reload(other)
    page.run("await new Promise(done => setTimeout(done, 1000));")
    assert panel.read(other) is None, "nor does it find another page's run in the history"


@every
def test_what_comes_late_is_not_for_another_node(page: Browser, panel: Panel) -> None:
    """The front-end hands it to whichever node has the id in the workflow that is open then."""
    workflow = panel.open(page)
    page.run("window.sent = {}; app.api.addEventListener('executed', ({ detail }) => { window.sent[detail.node] = detail.output; });")
    queue(page)
    shown = panel.wait(page)
    panel.reopen(page, workflow | {"id": str(uuid4())})
    page.run("app.nodeOutputs = {};")
    hand = "node.onExecuted({ ...window.sent[node.id], ...given }); await new Promise(done => setTimeout(done, 500));"
    page.run(panel.script(hand), {"uq_kind": ["UQ_Another"]})
    assert panel.read(page) is None
    page.run(panel.script(hand), {})
    assert panel.read(page) is None, "the workflow that was open before has the same ids and classes"
    page.run(panel.script(hand), {"uq_workflow": []})
    assert panel.wait(page) == shown, "what names no workflow is shown"


@every
def test_a_run_is_not_drawn_in_the_workflow_that_was_opened_meanwhile(page: Browser, panel: Panel) -> None:
    workflow = panel.open(page)
    page.run(HELD_UP)
    queue(page)
    panel.reopen(page, workflow | {"id": str(uuid4())})
    page.run("app.nodeOutputs = {};")
    assert page.run("const held = window.letGo(); return held;"), "something was kept back"
    page.wait_for("return window.ended;", 60)
    page.run("await new Promise(done => setTimeout(done, 500));")
    assert panel.read(page) is None
    look_at(page, panel.kind)  # a drawing of the canvas looks for what the host remembers
    assert panel.read(page) is None
    panel.reopen(page, workflow)
    assert panel.wait(page), "its own workflow finds it in the history"
