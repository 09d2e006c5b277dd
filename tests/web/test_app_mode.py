"""App Mode, which hides the graph: the report's picture is a result, and a panel can be an input."""

from __future__ import annotations

import pytest

from browser import why_not
from comfy_server import Server
from panel_rows import CURVE, REPORTS
from panels import Panel
from renderers import RENDERERS, opened, queue

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")
CHOOSES = (1, 40)  # front-ends before it have a view of that name which chooses no inputs and outputs
VERSION = "return (window.__COMFYUI_FRONTEND_VERSION__ ?? '0').split('.').slice(0, 2).map(Number);"
SHOWN = """
const seen = [...document.querySelectorAll("img")].filter(image => image.checkVisibility() && image.naturalWidth === 1440);
const panels = [...document.querySelectorAll(`[data-panel="${given}"]`)];
const panel = panels.find(element => element.checkVisibility() && element.childElementCount);
return seen.length > 0 && Boolean(panel) && panel.getBoundingClientRect().width > 150 && document.body.innerText.includes(panel.ariaLabel);
"""


@pytest.mark.parametrize("panel", [REPORTS, CURVE], ids=str)
@pytest.mark.parametrize("renderer", RENDERERS)
def test_pictures_and_panels_are_shown(comfy: Server, renderer: str, panel: Panel) -> None:
    with opened(comfy, renderer) as page:
        if tuple(page.run(VERSION)) < CHOOSES:
            pytest.skip("the App Mode of this front-end chooses no outputs")
        workflow = panel.open(page)
        ids = {node["type"]: node["id"] for node in workflow["nodes"]}
        shown = {"inputs": [[ids[panel.kind], panel.name]], "outputs": [ids["UQ_Report"]]}
        page.errors()
        page.load(workflow | {"extra": {"linearMode": True, "linearData": shown}})
        queue(page)
        page.wait_for(f"const given = '{panel.name}'; {SHOWN}", 60)
        assert page.errors() == []
