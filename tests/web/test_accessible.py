"""Each panel of ours, and the review, for people who use keys or a screen reader: names, Tab, a focus that is seen."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from all_panels import PANELS, panel, run_all
from browser import Browser, why_not
from comfy_server import Server
from renderers import RENDERERS, look_at, open_graph, opened, queue

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

REVIEW = "document.querySelector('dialog.uq-review')"
SALTS = count(4000)


@pytest.fixture(scope="module", params=RENDERERS)
def page(comfy: Server, request: pytest.FixtureRequest) -> Iterator[Browser]:
    with opened(comfy, request.param) as page:
        run_all(page)
        yield page


@pytest.mark.parametrize(("node", "name"), PANELS)
def test_a_panel_can_be_used_without_a_mouse(page: Browser, node: str, name: str) -> None:
    from accessible import complaints

    look_at(page, node, 0.6)  # all of it
    assert complaints(page, panel(node, name)) == []


def test_the_check_finds_what_is_wrong(page: Browser) -> None:
    from accessible import complaints

    page.run(
        """
        const box = document.createElement("div");
        box.id = "faulty";
        box.style = "position: fixed; left: 40px; top: 40px; z-index: 99999; background: white;";
        box.innerHTML = `<style>.bare { outline: none !important; border: 1px solid !important; background: white !important; }</style>
          <button class="fine">fine</button><button class="nameless" style="width: 20px; height: 20px"></button>
          <button class="passed" tabindex="-1">passed</button><p><button class="bare">bare</button></p>`;
        document.body.append(box);
        """
    )
    found = complaints(page, "document.getElementById('faulty')")
    page.run("document.getElementById('faulty').remove();")
    assert found == [
        '<button class="nameless"> has no name',
        '<button class="passed"> is not reached by Tab',
        '<button class="bare"> does not show that it has the focus',
    ]


@pytest.mark.parametrize("zoomed", [False, True])
def test_the_review_can_be_used_without_a_mouse(comfy: Server, page: Browser, zoomed: bool) -> None:
    from accessible import complaints
    from comfy_review import Reviewed

    open_graph(page, Reviewed(salt=next(SALTS), band=100.0).graph, f"review {next(SALTS)}")
    queue(page)
    try:
        page.wait_for(f"return {REVIEW}?.querySelector('.uq-card');")
        if zoomed:
            page.run("document.querySelectorAll('.uq-zoom')[1].click();")
        assert complaints(page, REVIEW) == []
    finally:
        comfy.cancel()
        page.wait_for(f"return !{REVIEW};")
