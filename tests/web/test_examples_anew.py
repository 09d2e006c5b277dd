"""The example workflows are what their code makes of them: made anew, no file changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser, why_not
from comfy_server import Server
from examples import EXAMPLES, NEEDED_FIRST
from make_examples import AS_BROWSER, MADE_WITH, TARGET, picture_of

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")


@pytest.fixture
def page(comfy: Server) -> Iterator[Browser]:
    """A new one for each example, as when they are made: panels compare with what a page has shown before."""
    if comfy.copy.version != MADE_WITH:
        pytest.skip(f"other versions than {MADE_WITH} give nodes other heights")
    comfy.post("/settings", {"Comfy.TutorialCompleted": True})
    with Browser(comfy.url, timeout=300) as page:
        yield page


@pytest.mark.parametrize("name", EXAMPLES)
def test_made_anew_it_is_as_before(comfy: Server, page: Browser, name: str) -> None:
    if name in NEEDED_FIRST:
        comfy.run(EXAMPLES[NEEDED_FIRST[name]]().graph, timeout=600, extra_data=AS_BROWSER)
    workflow, _ = picture_of(page, name, EXAMPLES[name]())
    assert workflow == json.loads(Path(TARGET, f"{name}.json").read_text(encoding="utf-8"))
