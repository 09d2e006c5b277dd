"""Live curves: what is sent while a sampler runs, to whom, how much, and that nothing of the run changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from comfy_client import History, PromptInterrupted
from comfy_events import Events
from comfy_graph import Node
from comfy_scenes import Scene, ksampler, scene
from comfy_server import Server
from comfy_uncertainty import guidance, guided_sampler, record, samples, save, save_uncertainty, uncertainty

EVENT = "uncertainty.live"


def shown(history: History, node: Node) -> dict[str, Any]:
    """The curve that a node has shown."""
    (run,) = history.outputs[node.id]["uq_live"]
    return run["curve"]


def joined(messages: list[dict[str, Any]]) -> list[list[Any]]:
    """The steps of all messages, each of which goes on where the one before ended."""
    steps: list[list[Any]] = []
    for message in messages:
        assert message["from"] == len(steps)
        steps += message["steps"]
    return steps


def watched(s: Scene, **options: Any) -> tuple[Node, Node]:
    """A recorder, and what its sampler saves."""
    measured, recorder = record(s, **options)
    return recorder, ksampler(measured, steps=4)


def test_messages_and_output_tell_the_curve_that_is_read(comfy: Server) -> None:
    s = scene("eps", batch=3, salt=700)
    recorder, latent = watched(s)
    reader = s.graph.node("UQ_ReadUncertainty", latent=latent, record=recorder[1])
    measured = save_uncertainty(s, reader[1])
    save(s, latent)
    with Events(comfy) as events:
        history = comfy.run(s.graph, client_id=events.client_id)
        messages = events.of(EVENT)
    curve = torch.tensor(uncertainty(comfy, history, measured)["curve"])
    steps = joined(messages)
    assert [step[0] for step in steps] == [0, 1, 2, 3] and messages[0]["of"] == 4
    torch.testing.assert_close(torch.tensor([step[2] for step in steps]), curve, rtol=1e-3, atol=0)
    assert shown(history, recorder)["steps"] == steps == [[i, *step[1:]] for i, step in enumerate(shown(history, reader)["steps"])]
    assert {(m["node"], m["kind"], m["done"]) for m in messages[:-1]} <= {(recorder.id, "UQ_RecordUncertainty", False)}
    assert messages[-1]["done"]


@pytest.mark.parametrize("client", [True, False], ids=["with a page", "API alone"])
def test_the_latent_is_the_same_bit_for_bit_whoever_looks(comfy: Server, client: bool) -> None:
    s = scene("eps", batch=2, salt=710 + client)
    plain = save(s, ksampler(s, steps=4))
    measured = save(s, watched(s)[1])
    with Events(comfy) as events:
        history = comfy.run(s.graph, **({"client_id": events.client_id} if client else {}))
        assert bool(events.of(EVENT)) == client
    assert torch.equal(samples(comfy, history, plain), samples(comfy, history, measured))


def test_only_the_page_that_queued_is_told(comfy: Server) -> None:
    s = scene("eps", salt=720)
    save(s, guided_sampler(s))
    with Events(comfy) as mine, Events(comfy) as other:
        comfy.run(s.graph, client_id=mine.client_id)
        assert mine.of(EVENT) and not other.of(EVENT)


def test_a_cached_sampler_still_shows_its_curve(comfy: Server) -> None:
    if not comfy.object_info()["UQ_UncertaintyGuidedSampler"].get("has_intermediate_output"):
        pytest.skip("this ComfyUI sends what a cached node shows again only for output nodes")
    s = scene("eps", salt=730)
    watcher, latent = watched(s)
    drawn = guided_sampler(s)
    for each in (latent, drawn):
        save(s, each)
    first = comfy.run(s.graph)
    save(s, latent)
    with Events(comfy) as events:
        comfy.run(s.graph, client_id=events.client_id)
        again = {m["node"]: m["output"] for m in events.of("executed")}
        assert not events.of(EVENT)
    for node in (watcher, drawn):
        assert again[node.id]["uq_live"] == first.outputs[node.id]["uq_live"]


def test_fifty_steps_of_eight_images_fit_in_200_kilobytes(comfy: Server) -> None:
    s = scene("eps", batch=8, size=4, salt=740)
    measured, _ = record(s)
    save(s, ksampler(measured, steps=50))
    with Events(comfy) as events:
        comfy.run(s.graph, client_id=events.client_id)
        messages = [m for m in events.messages if m["type"] == EVENT]
    assert sum(len(json.dumps(message)) for message in messages) < 200_000
    assert len(joined([m["data"] for m in messages])) == 50


def test_guidance_tells_every_step_that_it_measures(comfy: Server) -> None:
    s = scene("eps", salt=745)
    drawn = guided_sampler(s, steps=6)
    save(s, drawn)
    curve = shown(comfy.run(s.graph), drawn)
    assert [step[0] for step in curve["steps"]] == list(range(6)) and curve["span"] == [0, 5]


def test_a_score_that_needs_no_draws_is_told_too(comfy: Server) -> None:
    s = scene("eps", salt=747)
    recorder, latent = watched(s, quantity="trajectory")
    save(s, latent)
    assert len(shown(comfy.run(s.graph), recorder)["steps"]) == 4


def test_a_run_without_a_measured_step_goes_on(comfy: Server) -> None:
    s = scene("eps", salt=748)
    recorder, latent = watched(s, start_percent=0.99, end_percent=0.995)
    save(s, latent)
    assert shown(comfy.run(s.graph), recorder)["steps"] == []


def test_an_interrupted_run_ends_its_curve(comfy: Server) -> None:
    s = scene("eps", batch=2, size=16, salt=750)
    measured, _ = guidance(s)
    save(s, ksampler(measured, steps=400))
    with Events(comfy) as events:
        prompt = comfy.queue(s.graph, client_id=events.client_id)
        events.wait_for(EVENT)
        comfy.cancel()
        with pytest.raises(PromptInterrupted):
            comfy.wait(prompt).raise_for_status()
        assert events.of(EVENT)[-1]["done"]
