"""Cancel, errors and lack of memory leave everything as it was; cost, progress and bad inputs are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from comfy_client import PromptFailed, PromptInterrupted, PromptRefused
from comfy_events import Events
from comfy_graph import Node
from comfy_scenes import Scene, ksampler, scene
from comfy_server import Server
from comfy_uncertainty import estimator, guidance, guided_sampler, read, record, samples, save, save_uncertainty, uncertainty
from comfy_untouched import check_untouched, plain_run

LATENT = {"seed": 3, "scale": 1.0, "batch": 2, "channels": 16, "frames": 0, "height": 8, "width": 8}


def recorded(s: Scene) -> Node:
    return ksampler(record(s, samples=3)[0])


def guided(mode: str) -> Callable[[Scene], Node]:
    return lambda s: guided_sampler(s, mode=mode, samples=3)


def estimated(s: Scene) -> Node:
    return estimator(s, s.graph.node("UQTest_RandomLatent", **LATENT, salt=0), levels=4)


USES = {"record": recorded, "estimate": estimated} | {mode: guided(mode) for mode in ("posterior", "forward", "autograd")}


def disturbed(node: str, use: str, **options: Any) -> Scene:
    s = scene("flow", batch=2, tokens=(7, 7))
    s = s.having(model=s.graph.node(node, model=s.model, **options))
    save(s, USES[use](s))
    return s


@pytest.fixture(scope="module")
def untouched(comfy: Server) -> tuple[Tensor, Any, Any]:
    return plain_run(comfy, 1001)


@pytest.mark.parametrize("use", USES)
def test_success_leaves_nothing_behind(comfy: Server, untouched: tuple, use: str) -> None:
    s = scene("flow", batch=2, tokens=(7, 7))
    save(s, USES[use](s))
    comfy.run(s.graph)
    check_untouched(comfy, untouched, 1100 + list(USES).index(use))


@pytest.mark.parametrize("use", USES)
def test_an_exception_in_an_extra_pass_leaves_nothing_behind(comfy: Server, untouched: tuple, use: str) -> None:
    s = disturbed("UQTest_RaiseAtCall", use, call=2)
    with pytest.raises(PromptFailed, match="raised on purpose"):
        comfy.run(s.graph)
    check_untouched(comfy, untouched, 1200 + list(USES).index(use))


@pytest.mark.parametrize("use", USES)
def test_running_out_of_memory_for_good_leaves_nothing_behind(comfy: Server, untouched: tuple, use: str) -> None:
    s = disturbed("UQTest_OutOfMemory", use, rows=0, from_call=2, times=99)
    with pytest.raises(PromptFailed, match="out of memory on purpose"):
        comfy.run(s.graph)
    check_untouched(comfy, untouched, 1300 + list(USES).index(use))


@pytest.mark.parametrize("use", USES)
def test_a_cancel_comes_before_the_next_call_and_leaves_nothing_behind(comfy: Server, untouched: tuple, use: str) -> None:
    s = scene("flow", batch=2, tokens=(7, 7))
    counted = s.graph.node("UQTest_CountCalls", model=s.graph.node("UQTest_CancelAtCall", model=s.model, call=2))
    saved = save(s, USES[use](s.having(model=counted)))
    with pytest.raises(PromptInterrupted):
        comfy.run(s.graph)
    other = s.graph.node("UQTest_RandomLatent", **LATENT, salt=1 + list(USES).index(use))
    s.graph[str(saved)]["inputs"]["latent"] = other[0]  # nothing is left to sample
    calls = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=other)
    assert len(comfy.run(s.graph).outputs[str(calls)]["rows"]) == 2
    check_untouched(comfy, untouched, 1400 + list(USES).index(use))


def test_memory_for_fewer_draws_halves_them_once_and_says_so(comfy: Server) -> None:
    log = len(comfy.log())
    s = scene("flow", batch=2, tokens=(7, 7))
    saved = save(s, ksampler(s))
    s = s.having(model=s.graph.node("UQTest_OutOfMemory", model=s.model, rows=4, from_call=1, times=1))
    watched, patch = record(s, samples=4)
    drawn = ksampler(watched)
    found, kept = read(s, drawn, patch), save(s, drawn)
    history = comfy.run(s.graph)
    assert comfy.log()[log:].count("Out of memory in the uncertainty passes: going on with 2 draws per call.") == 1
    assert torch.equal(samples(comfy, history, kept), samples(comfy, history, saved))
    assert uncertainty(comfy, history, found)["nfe"] == 4 * 4


def test_autograd_without_memory_goes_on_in_forward(comfy: Server) -> None:
    log = len(comfy.log())
    s = scene("flow", batch=2, tokens=(7, 7))
    s = s.having(model=s.graph.node("UQTest_OutOfMemory", model=s.model, rows=0, from_call=4, times=1))
    saved = save(s, guided_sampler(s, mode="autograd"))
    assert samples(comfy, comfy.run(s.graph), saved).isfinite().all()
    assert "out of memory on purpose). Going on in mode 'forward'" in comfy.log()[log:]


@pytest.mark.parametrize(("options", "total"), [({}, 4 + 3 * 2 * 2), ({"mode": "posterior"}, 4 + 3 * 2), ({"strength": 0.0}, 4 + 2)])
def test_progress_counts_the_extra_passes(comfy: Server, options: dict[str, Any], total: int) -> None:
    s = scene("flow", salt=5)
    save(s, guided_sampler(s, **options))
    with Events(comfy) as events:
        comfy.run(s.graph, client_id=events.client_id)
        events.wait_for("execution_success")
    told = events.of("progress")
    assert {p["max"] for p in told} == {total}
    values = [p["value"] for p in told]
    assert values == sorted(values) and values[-1] == total
    assert events.previews


def test_a_record_keeps_each_runs_result_apart(comfy: Server) -> None:
    s = scene("flow", batch=2)
    watched, patch = record(s)
    drawn = [ksampler(watched, seed=seed) for seed in (1, 2)]
    found = [read(s, latent, patch) for latent in (drawn[0], drawn[1], drawn[0])]
    history = comfy.run(s.graph)
    one, other, again = (uncertainty(comfy, history, node) for node in found)
    assert one["scores"] == again["scores"] != other["scores"]
    # a later prompt finds the patch and the first sampler cached, and only a third sampler new
    third = read(s, ksampler(watched, seed=3), patch)
    history = comfy.run(s.graph)
    assert {str(patch), str(drawn[0])} <= history.cached
    assert uncertainty(comfy, history, found[0])["scores"] == one["scores"]
    assert uncertainty(comfy, history, third)["scores"] not in (one["scores"], other["scores"])


def test_same_seed_same_score_another_seed_another(comfy: Server) -> None:
    scores = []
    for salt, seed in ((1, 7), (2, 7), (3, 8)):
        s = scene("flow", batch=2, salt=salt)
        watched, patch = record(s, seed=seed)
        found = read(s, ksampler(watched), patch)
        scores.append(uncertainty(comfy, comfy.run(s.graph), found)["scores"])
    assert scores[0] == scores[1] != scores[2]


def test_every_k_th_step_costs_its_share(comfy: Server) -> None:
    s = scene("flow")
    watched, patch = record(s, every=3)
    found = read(s, ksampler(watched, steps=7), patch)
    measured = uncertainty(comfy, comfy.run(s.graph), found)
    assert len(measured["sigmas"]) == 3 and measured["nfe"] == 6


def test_the_estimator_hands_on_latent_heatmap_and_scores(comfy: Server) -> None:
    s = scene("video", batch=2)
    latent = s.graph.node("UQTest_RandomLatent", seed=3, scale=1.0, salt=0, batch=2, channels=16, frames=2, height=8, width=8)
    node = estimator(s, latent)
    values = [s.graph.node("UQTest_SaveValue", value=value) for value in (node[2], node[3])]
    given, kept, found = save(s, latent), save(s, node), save_uncertainty(s, node[1])
    history = comfy.run(s.graph)
    heatmap, scores = (comfy.value(history, value) for value in values)
    assert torch.equal(samples(comfy, history, given), samples(comfy, history, kept))
    assert heatmap[0]["shape"] == [4, 64, 64, 3]
    assert scores == uncertainty(comfy, history, found)["scores"]


def refused(comfy: Server, s: Scene, sentence: str, error: type[Exception] = PromptFailed) -> None:
    with pytest.raises(error, match=sentence):
        comfy.run(s.graph)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start_percent": 0.8, "end_percent": 0.2}, "start_percent must not exceed end_percent, got 0.8 > 0.2"),
        ({"samples": 1}, "samples"),
        ({"mode": "sideways"}, "mode must be one of posterior, forward, autograd, got 'sideways'"),
        ({"strength": 1e9}, "strength"),
    ],
)
def test_bad_guidance_is_refused_before_sampling(comfy: Server, options: dict[str, Any], sentence: str) -> None:
    for use in (lambda s: guided_sampler(s, **options), lambda s: ksampler(guidance(s, **options)[0])):
        s = scene("flow")
        save(s, use(s))
        refused(comfy, s, sentence, PromptRefused)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cfg": 3.0}, "cfg is 3, which needs a negative conditioning"),
        ({"end_percent": 1.0}, "end_percent must be below 1"),
        ({"start_percent": 0.96}, "start_percent must not exceed end_percent"),
        ({"levels": 0}, "levels"),
        ({"quantity": "mood"}, "quantity must be one of denoised, noise, posterior, got 'mood'"),
    ],
)
def test_bad_estimates_are_refused_before_sampling(comfy: Server, options: dict[str, Any], sentence: str) -> None:
    s = scene("flow")
    save(s, estimator(s, ksampler(s), **options))
    refused(comfy, s, sentence, PromptRefused)


def test_what_cannot_be_measured_is_one_sentence(comfy: Server) -> None:
    s = scene("flow")
    save(s, estimator(s, s.latent))
    refused(comfy, s, "latent is empty: connect the output of a sampler")
    s = scene("flow")
    four = s.graph.node("UQTest_RandomLatent", seed=3, scale=1.0, salt=0, batch=1, channels=4, frames=0, height=8, width=8)
    save(s, estimator(s, four))
    refused(comfy, s, "latent has 4 channels, but the model wants 16")
    s = scene("flow")
    early = s.graph.node("ConditioningSetTimestepRange", conditioning=s.positive, start=0.0, end=0.3)
    save(s, estimator(s.having(positive=early), ksampler(s)))
    refused(comfy, s, "No part of positive acts at noise level")


def test_a_latent_of_several_parts_is_refused(comfy: Server) -> None:
    if "UQTest_NestedLatent" not in comfy.object_info():
        pytest.skip("this ComfyUI knows no latents of several parts")
    s = scene("flow")
    nested = s.graph.node("UQTest_NestedLatent", latent=ksampler(s))
    save(s, estimator(s, nested))
    refused(comfy, s, "latent holds several parts of different shapes")


@pytest.mark.parametrize("use", [lambda s: record(s)[0], lambda s: guidance(s)[0]])
def test_a_model_that_is_not_understood_is_refused_by_name(comfy: Server, use: Callable[[Scene], Scene]) -> None:
    s = scene("flow")
    s = s.having(model=s.graph.node("UQTest_StrangeModel", model=s.model))
    save(s, ksampler(use(s)))
    refused(comfy, s, "kind that is not understood, StrangeSampling")


def test_an_empty_record_says_what_to_connect(comfy: Server) -> None:
    s = scene("flow")
    _, patch = record(s)
    read(s, ksampler(s), patch)
    refused(comfy, s, "record is empty: no sampler has run the model")


def test_a_window_without_steps_lets_the_image_be_and_says_so_when_read(comfy: Server) -> None:
    s = scene("flow")
    watched, patch = record(s, start_percent=0.41, end_percent=0.42)
    drawn = ksampler(watched, steps=2)
    kept = save(s, drawn)
    assert samples(comfy, comfy.run(s.graph), kept).isfinite().all()
    read(s, drawn, patch)
    refused(comfy, s, "No step was measured")


def test_another_latent_than_was_sampled_is_refused(comfy: Server) -> None:
    s = scene("flow", batch=2)
    watched, patch = record(s)
    drawn = ksampler(watched)
    other = s.graph.node("LatentFromBatch", samples=drawn, batch_index=0, length=1)
    read(s, other, patch)
    refused(comfy, s, "record describes 2 images, but latent holds 1")
