"""What our nodes tell a page of the run's origin, so that no other workflow shows it, and a page that cannot be told."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_events import Events
from comfy_graph import Node
from comfy_review import Page, Reviewed
from comfy_scenes import Scene, ksampler, scene
from comfy_server import Server
from comfy_uncertainty import guidance, guided_sampler, panels_of_results, record, save

OURS = ("uncertainty.live", "uncertainty.guided")
STRANGE = ([], {}, {"extra_pnginfo": None}, {"extra_pnginfo": {"workflow": "w"}}, {"extra_pnginfo": {"workflow": {"id": 7}}})


def everything(salt: int) -> tuple[Scene, list[Node]]:
    """A workflow with each kind of panel, and the nodes that have one."""
    s = scene("eps", batch=2, salt=salt)
    guided, guide = guidance(s, mode="posterior")
    watched, recorder = record(guided)
    read = s.graph.node("UQ_ReadUncertainty", latent=ksampler(watched, steps=3), record=recorder[1])
    return s, [guide, recorder, read, *panels_of_results(s, read, keep=1.0)]


def test_every_message_and_every_output_names_the_workflow(comfy: Server) -> None:
    s, nodes = everything(salt=900)
    with Events(comfy) as events:
        queued = {"client_id": events.client_id, "extra_data": {"extra_pnginfo": {"workflow": {"id": "w-1"}}}}
        history = comfy.run(s.graph, **queued)
        told = [message for event in OURS for message in events.all_of(event)]
    assert {message["workflow"] for message in told} == {"w-1"} and len({message["node"] for message in told}) == 2
    assert {node.id: history.outputs[node.id]["uq_workflow"] for node in nodes} == {node.id: ["w-1"] for node in nodes}


@pytest.mark.parametrize("extra", STRANGE, ids=str)
def test_a_prompt_without_a_workflow_names_none(comfy: Server, extra: Any) -> None:
    s = scene("eps", batch=1, salt=910 + STRANGE.index(extra))
    drawn = guided_sampler(s, steps=2)
    save(s, drawn)
    with Events(comfy) as events:
        history = comfy.run(s.graph, client_id=events.client_id, **({"extra_data": extra} if extra else {}))
        assert {message["workflow"] for message in events.all_of(OURS[0])} == {None}
    assert history.outputs[drawn.id]["uq_workflow"] == []


def test_a_page_that_cannot_be_told_ends_no_run(comfy: Server) -> None:
    s = scene("eps", batch=2, salt=920)
    s = s.having(model=s.graph.node("UQTest_DeafPage", model=s.model))
    guided, guide = guidance(s, mode="posterior")
    watched, recorder = record(guided)
    save(s, ksampler(watched, steps=3))
    with Events(comfy) as events:
        history = comfy.run(s.graph, client_id=events.client_id)
        assert [event for event in OURS if events.all_of(event)] == []
    assert len(history.outputs[recorder.id]["uq_live"][0]["curve"]["steps"]) == 3
    assert history.outputs[guide.id]["uq_stage"][0]["stage"]["curves"]
    with Events(comfy) as events:  # the next run is told as ever
        s = scene("eps", batch=1, salt=921)
        save(s, guided_sampler(s, steps=2))
        comfy.run(s.graph, client_id=events.client_id)
        assert events.all_of(OURS[0])


def test_a_review_names_the_workflow_of_its_node(comfy: Server) -> None:
    r = Reviewed(salt=930)
    with Page(comfy) as page:
        prompt = comfy.queue(r.graph, client_id=page.client_id, extra_data={"extra_pnginfo": {"workflow": {"id": "w-2"}}})
        asked = page.asked()
        assert asked["workflow"] == "w-2"
        page.say(asked, "leave")
        comfy.wait(prompt).raise_for_status()
