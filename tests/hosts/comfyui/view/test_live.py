"""Live curves: what is sent while a sampler runs, to whom, how much, and that nothing of the run changes."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch

from comfy_client import History, PromptInterrupted
from comfy_events import Events
from comfy_graph import Node
from comfy_scenes import Scene, ksampler, scene
from comfy_searches import best_of, until
from comfy_server import Server
from comfy_uncertainty import (
    estimator,
    guidance,
    guided_sampler,
    panels_of_results,
    record,
    samples,
    save,
    save_uncertainty,
    uncertainty,
)
from uncertainty_nodes.core.search.seeds import derive_seed

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
        messages = events.all_of(EVENT)
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
    nodes = [guided_sampler(s), best_of(s), until(s, rule="threshold", value=0.0, max_attempts=2), estimator(s, latent)]
    for each in (latent, *nodes):
        save(s, each)
    first = comfy.run(s.graph)
    save(s, latent)
    with Events(comfy) as events:
        comfy.run(s.graph, client_id=events.client_id)
        again = {m["node"]: m["output"] for m in events.all_of("executed")}
        assert not events.of(EVENT)
    for node in (watcher, *nodes):
        assert again[node.id]["uq_live"] == first.outputs[node.id]["uq_live"]


def test_fifty_steps_of_eight_images_fit_in_200_kilobytes(comfy: Server) -> None:
    """All that our nodes send: while it runs, and what each of them shows afterwards."""
    s = scene("eps", batch=8, size=4, salt=740)
    measured, recorder = record(s, seed=740)  # a cached node would tell nothing
    read = s.graph.node("UQ_ReadUncertainty", latent=ksampler(measured, steps=50), record=recorder[1])
    panels = panels_of_results(s, read, keep=4.0)
    with Events(comfy) as events:
        comfy.run(s.graph, client_id=events.client_id)
        ours = [m for m in events.messages if m["type"].startswith("uncertainty.") or m["type"] == "executed"]
    shown = {m["data"]["node"] for m in ours if m["type"] == "executed"}
    assert {node.id for node in (recorder, read, *panels)} <= shown
    assert sum(len(json.dumps(message)) for message in ours) < 200_000
    assert len(joined([m["data"] for m in ours if m["type"] == EVENT])) == 50


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


def test_each_attempt_is_told_with_the_line_that_decides(comfy: Server) -> None:
    s = scene("flow", batch=2, salt=760)
    never = {"rule": "threshold", "value": 0.0}
    node = until(s, max_attempts=3, **never)
    alone = [until(s, max_attempts=1, wanted=2, seed=derive_seed(1, i), **never) for i in range(3)]
    measured = [save_uncertainty(s, each[1]) for each in alone]
    save(s, node)
    with Events(comfy) as events:
        history = comfy.run(s.graph, client_id=events.client_id)
        messages = [m for m in events.all_of(EVENT) if m["node"] == node.id]
    curve = shown(history, node)
    assert joined(messages) == curve["steps"] and messages[-1]["done"]
    assert (curve["axis"], curve["of"], curve["span"], curve["limit"]) == ("attempt", 3, [0, 2], 0.0)
    assert [step[:2] for step in curve["steps"]] == [[0, None], [1, None], [2, None]]
    for step, each in zip(curve["steps"], measured, strict=True):  # an attempt by itself gives the best image first
        assert sorted(step[2]) == pytest.approx(uncertainty(comfy, history, each)["scores"], rel=1e-3)


def test_each_comparison_is_told_and_a_candidate_that_ended_is_out(comfy: Server) -> None:
    s = scene("eps", batch=2, salt=770)
    node = best_of(s)
    compared = save_uncertainty(s, node[4])
    save(s, node)
    with Events(comfy) as events:
        history = comfy.run(s.graph, client_id=events.client_id)
        messages = events.all_of(EVENT)
    curve = shown(history, node)
    assert joined(messages) == curve["steps"] and messages[-1]["done"] and curve["limit"] is None
    assert (curve["axis"], curve["of"], [step[0] for step in curve["steps"]]) == ("point", 2, [0, 0, 1, 1])
    told = [[score for score in step[2] if score is not None] for step in curve["steps"]]
    assert [len(scores) for scores in told] == [4, 4, 2, 2]
    assert curve["steps"][1][2][:4] == [None] * 4, "the candidates of the next image come after those of the first"
    first = comfy.value(history, compared)[0]["scores"]
    assert told[0] + told[1] == pytest.approx(first, rel=1e-3)


def test_the_estimator_tells_each_level(comfy: Server) -> None:
    s = scene("eps", batch=2, salt=780)
    node = estimator(s, ksampler(s, steps=2), levels=3)
    measured = save_uncertainty(s, node[1])
    with Events(comfy) as events:
        history = comfy.run(s.graph, client_id=events.client_id)
        messages = events.all_of(EVENT)
    found, steps = uncertainty(comfy, history, measured), joined(messages)
    assert steps == shown(history, node)["steps"] and messages[-1]["done"] and messages[0]["axis"] == "level"
    assert [step[0] for step in steps] == [0, 1, 2]
    assert [step[1] for step in steps] == pytest.approx(found["sigmas"], rel=1e-3)
    torch.testing.assert_close(torch.tensor([step[2] for step in steps]), torch.tensor(found["curve"]), rtol=1e-3, atol=0)


def searched(s: Scene, kind: str) -> Node:
    if kind == "until":
        return until(s, rule="threshold", value=0.0, max_attempts=2)
    return best_of(s) if kind == "best" else estimator(s, ksampler(s, steps=2))


@pytest.mark.parametrize("kind", ["until", "best", "estimator"])
def test_a_search_gives_the_same_whoever_looks(comfy: Server, kind: str) -> None:
    results = []
    for looked_at in (False, True):
        s = scene("flow", batch=2, salt=790)
        if looked_at:  # the same under another name, or the second run would come from the cache
            s = s.having(model=s.graph.node("UQTest_CountCalls", model=s.model))
        node = searched(s, kind)
        kept, scores = save(s, node), save_uncertainty(s, node[1])
        with Events(comfy) as events:
            history = comfy.run(s.graph, **({"client_id": events.client_id} if looked_at else {}))
            assert bool(events.of(EVENT)) == looked_at
        results.append((samples(comfy, history, kept), comfy.value(history, scores)[0]["scores"]))
    (latent, first), (other, second) = results
    assert torch.equal(latent, other) and first == second


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


SEEDS = count(760)


def scored(s: Scene, by: str) -> tuple[Node, Any]:
    """The node that shows a curve, and its scores: its own, or what a reader gives of its record."""
    if by == "sampler":
        drawn = guided_sampler(s)
        return drawn, drawn[1]
    patched, recorder = record(s, seed=next(SEEDS))  # a cached node would tell nothing
    return recorder, s.graph.node("UQ_ReadUncertainty", latent=ksampler(patched, steps=4), record=recorder[1])[1]


@pytest.mark.parametrize(("by", "judge"), [("reader", "Calibrate"), ("reader", "Sample Filter"), ("sampler", "Calibrate")])
def test_a_calibration_in_the_workflow_tells_what_was_usual(comfy: Server, by: str, judge: str) -> None:
    name = f"usual {by} {judge}"
    first = scene("eps", batch=12, salt=760)
    watched, scores = scored(first, by)
    first.graph.node("UQ_Calibrate", uncertainty=scores, name=name)
    run = shown(comfy.run(first.graph), watched)
    assert run["usual"] is None and all(len(step) == 3 for step in run["steps"]), "there is no file yet"

    s = scene("eps", batch=1, salt=761)
    watched, scores = scored(s, by)
    if judge == "Sample Filter":
        loaded = s.graph.node("UQ_LoadCalibration", name=name)
        kept = s.graph.node("UQ_SampleFilter", uncertainty=scores, rule="calibrated", value=100.0, calibration=loaded)
        s.graph.node("UQTest_SaveValue", value=kept[6])
    else:
        s.graph.node("UQ_Calibrate", uncertainty=scores, name=name)
    with Events(comfy) as events:
        again = shown(comfy.run(s.graph, client_id=events.client_id), watched)
        assert joined(events.all_of(EVENT)) == again["steps"]
    assert again["usual"] == {"name": name, "count": 12}
    known = [(earlier[2], step[3]) for earlier, step in zip(run["steps"], again["steps"], strict=True) if len(step) == 4]
    assert len(known) == (4 if by == "reader" else 1), "guidance scores some of the steps that it shows"
    for scores_there, sides in known:
        assert tuple(sides) == pytest.approx(tuple(np.percentile(scores_there, (10, 90))), rel=1e-3)


def test_a_damaged_calibration_is_no_band_and_no_error_of_the_sampler(comfy: Server) -> None:
    path = comfy.base / "output" / "uncertainty" / "calibration" / "broken.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no calibration")
    s = scene("eps", batch=1, salt=770)
    drawn = guided_sampler(s)
    s.graph.node("UQ_Calibrate", uncertainty=drawn[1], name="broken")
    save(s, drawn)
    history = comfy.wait(comfy.queue(s.graph))
    assert shown(history, drawn)["usual"] is None and len(shown(history, drawn)["steps"]) == 4
