"""Members of Ensemble LoRA / Embedding that are chosen from lists, where ComfyUI has inputs that depend on others."""

from __future__ import annotations

from typing import Any

import pytest

import tiny_checkpoints as tiny
from browser import OURS, Browser, why_not
from comfy_client import PromptRefused
from comfy_ensembles import ensemble, found, sampled
from comfy_scenes import scene
from comfy_server import Server
from comfy_uncertainty import save, save_uncertainty

NODE = "UQ_EnsembleLoRAEmbedding"
OF_NODE = "const node = app.graph.nodes[0], widget = name => node.widgets.find(each => each.name === name);"


@pytest.fixture(scope="module", autouse=True)
def lists(comfy: Server) -> None:
    if "chosen" not in comfy.object_info()[NODE]["input"].get("optional", {}):
        pytest.skip("this ComfyUI has no inputs that depend on others (io.DynamicCombo)")


def chosen(*members: tuple[str, float]) -> dict[str, Any]:
    """As the front-end queues it."""
    inputs: dict[str, Any] = {"chosen": str(len(members))}
    for i, (file, strength) in enumerate(members, 1):
        inputs |= {f"chosen.file_{i}": file, f"chosen.strength_{i}": strength}
    return inputs


def test_chosen_members_are_those_that_are_named(comfy: Server) -> None:
    s = scene("flow")
    typed = ensemble(s, s.positive, members=f"{tiny.SD3_LORAS[0]}\n{tiny.SD3_LORAS[1]}:0.5")
    listed = ensemble(s, s.positive, **chosen((tiny.SD3_LORAS[0], 1.0), (tiny.SD3_LORAS[1], 0.5)))
    mixed = ensemble(s, s.positive, members=tiny.SD3_LORAS[0], **chosen((tiny.SD3_LORAS[1], 0.5)))
    kept = [save_uncertainty(s, sampled(s, members, s.positive)[1]) for members in (typed, listed, mixed)]
    history = comfy.run(s.graph)
    one, *others = (found(comfy, history, node) for node in kept)
    assert min(one["scores"]) > 0
    for other in others:
        assert other["scores"] == one["scores"] and other["provenance"]["members"] == one["provenance"]["members"]


def test_a_file_that_is_not_on_the_list_is_refused(comfy: Server) -> None:
    s = scene("flow")
    save(s, sampled(s, ensemble(s, s.positive, **chosen(("nobody.safetensors", 1.0))), s.positive))
    with pytest.raises(PromptRefused, match="nobody.safetensors"):
        comfy.run(s.graph)


def saved_before_there_were_lists() -> dict[str, Any]:
    node = {"id": 1, "type": NODE, "pos": [80, 120], "size": [400, 500], "flags": {}, "order": 0, "mode": 0, "inputs": [], "outputs": []}
    node |= {"properties": {}, "widgets_values": ["style:0.8", 0.7, "a photo"]}
    return {"last_node_id": 1, "last_link_id": 0, "nodes": [node], "links": [], "groups": [], "config": {}, "extra": {}, "version": 0.4}


def test_the_front_end_shows_as_many_lists_as_are_asked_for(comfy: Server) -> None:
    if missing := why_not():
        pytest.skip(missing)
    comfy.post("/settings", {"Comfy.TutorialCompleted": True})  # else the first visit is greeted by a dialog
    with Browser(comfy.url) as page:
        page.load(saved_before_there_were_lists())
        values = {"members": "style:0.8", "strength": 0.7, "prompt": "a photo"}
        assert page.prompt()["1"]["inputs"] == values | {"chosen": "0"}
        page.run(OF_NODE + "widget('chosen').value = '2'; await new Promise(done => setTimeout(done, 300));")
        names = page.run(OF_NODE + "return node.widgets.map(each => each.name);")
        assert names[-5:] == ["chosen", "chosen.file_1", "chosen.strength_1", "chosen.file_2", "chosen.strength_2"]
        files = page.run(OF_NODE + "return widget('chosen.file_2').options.values;")
        assert {*tiny.SD3_LORAS, *tiny.EMBEDDINGS} <= set(files)
        page.run(OF_NODE + "widget('chosen.file_2').value = given;", tiny.SD3_LORAS[1])
        queued = page.prompt()["1"]["inputs"]
        assert queued == values | chosen((files[0], 1.0), (tiny.SD3_LORAS[1], 1.0))
        page.load(page.serialized())
        assert page.prompt()["1"]["inputs"] == queued
        page.screenshot(comfy.base / "member_lists.png")
        assert not [message for message in page.errors() if OURS in message]
