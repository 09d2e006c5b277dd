"""The pack in ComfyUI's own front-end: its scripts load, and every example workflow opens whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import OURS, Browser, why_not
from comfy_server import Server

EXAMPLES = sorted((Path(__file__).parents[2] / "example_workflows").glob("*.json"))
REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")


@pytest.fixture(scope="module")
def page(comfy: Server) -> Iterator[Browser]:
    comfy.post("/settings", {"Comfy.TutorialCompleted": True})  # else the first visit is greeted by a dialog
    with Browser(comfy.url) as page:
        yield page


def saved(workflow: dict[str, Any]) -> dict[int, tuple[str, Any]]:
    """Type and widget values of each node, by id."""
    return {node["id"]: (node["type"], node.get("widgets_values") or []) for node in workflow["nodes"]}


def minimal(node_type: str) -> dict[str, Any]:
    node = {"id": 1, "type": node_type, "pos": [0, 0], "size": [200, 100], "flags": {}, "order": 0, "mode": 0, "inputs": [], "outputs": []}
    return {"last_node_id": 1, "last_link_id": 0, "nodes": [node], "links": [], "groups": [], "config": {}, "extra": {}, "version": 0.4}


def test_every_script_of_ours_is_loaded_without_a_complaint(comfy: Server, page: Browser) -> None:
    offered = {path for path in comfy.get("/extensions") if OURS in path}
    assert page.scripts() == offered
    assert [m for m in page.errors() if OURS in m or "Error calling extension" in m] == []


def test_every_node_of_ours_can_be_added(comfy: Server, page: Browser) -> None:
    ours = [name for name, info in comfy.object_info().items() if info["python_module"] == "custom_nodes.uncertainty-nodes"]
    page.errors()
    for name in ours:
        page.load(minimal(name))
        assert page.missing_types() == []
    assert page.errors() == []


def test_what_is_missing_and_what_breaks_is_noticed(page: Browser) -> None:
    page.load(minimal("UQ_NoSuchNode"))
    assert page.missing_types() == ["UQ_NoSuchNode"]
    page.errors()
    page.run("setTimeout(() => { throw new Error('broken on purpose'); }); await new Promise(done => setTimeout(done, 100));")
    assert any("broken on purpose" in message for message in page.errors())
    with pytest.raises(RuntimeError, match="thrown on purpose"):
        page.run("throw new Error('thrown on purpose');")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_opens_with_nothing_missing_and_nothing_changed(page: Browser, path: Path) -> None:
    workflow = json.loads(path.read_text())
    page.errors()
    page.load(workflow)
    assert page.missing_types() == []
    assert page.errors() == []
    assert saved(page.serialized()) == saved(workflow)
    assert page.prompt()
