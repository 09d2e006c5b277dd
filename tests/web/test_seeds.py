"""Which seeds the front-end re-rolls after a run: those of nodes that sample, and no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from browser import Browser, why_not
from comfy_server import Server

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")
AFTER_A_RUN = "return LiteGraph.createNode(given).widgets.find((each) => each.name === 'control_after_generate').value;"


@pytest.fixture(scope="module")
def page(comfy: Server) -> Iterator[Browser]:
    comfy.post("/settings", {"Comfy.TutorialCompleted": True})  # else the first visit is greeted by a dialog
    with Browser(comfy.url) as page:
        yield page


def test_only_seeds_of_samplers_are_rolled_anew(comfy: Server, page: Browser) -> None:
    seeded = {
        name: "sampler_name" in info["input"]["required"]
        for name, info in comfy.object_info().items()
        if name.startswith("UQ_") and "seed" in {**info["input"]["required"], **info["input"].get("optional", {})}
    }
    assert len(set(seeded.values())) == 2 and "UQ_PromptInformation" in seeded
    for name, samples in seeded.items():
        assert page.run(AFTER_A_RUN, name) == ("randomize" if samples else "fixed"), name
