"""Prompt Information and Phrase Checklist on a real ComfyUI: what they tell apart, what they cost, what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from comfy_client import PromptFailed, PromptRefused
from comfy_graph import Graph, Node
from comfy_scenes import Scene, ksampler, scene, text
from comfy_server import Server
from comfy_uncertainty import save
from uncertainty_nodes.core.options import DrawOptions, InformationOptions, StepWindow
from uncertainty_nodes.hosts.diffusers.demo import CLASSES, NO_CLASS, load_demo
from uncertainty_nodes.hosts.diffusers.information import each_class, information

MEASURE = {"samples": 2, "start_percent": 0.45, "end_percent": 0.55, "levels": 2, "seed": 3}


def demo(g: Graph, digit: int, batch: int = 3) -> Scene:
    """With digits of that class as the latent, drawn quickly."""
    loaded = g.node("UQ_LoadDemoModel", digit=digit, batch_size=batch)
    wires = {"model": loaded[0], "positive": loaded[1], "negative": loaded[2], "latent_image": loaded[4]}
    drawn = g.node("KSampler", **wires, seed=1, steps=12, cfg=1.0, sampler_name="ddim", scheduler="normal", denoise=1.0)
    return Scene(g, loaded[0], loaded[1], loaded[2], drawn)


def informed(s: Scene, **wires: Any) -> Node:
    given = {"model": s.model, "positive": s.positive, "negative": s.negative, "latent": s.latent, **MEASURE}
    return s.graph.node("UQ_PromptInformation", **given | wires)


def checked(s: Scene, conditionings: Any, labels: Any, **wires: Any) -> Node:
    given = {"model": s.model, "latent": s.latent, "conditionings": conditionings, "labels": labels, **MEASURE}
    return s.graph.node("UQ_PhraseChecklist", **given | wires)


def read(s: Scene, node: Any) -> Node:
    return s.graph.node("UQTest_SaveUncertainty", uncertainty=node)


def counted(s: Scene) -> tuple[Scene, Node]:
    count = s.graph.node("UQTest_CountCalls", model=s.model)
    return s.having(model=count), count


def test_an_image_carries_its_own_digit_and_not_another(comfy: Server) -> None:
    g = Graph()
    threes, sevens = demo(g, 3), demo(g, 7)
    own, other = informed(threes, samples=8), informed(threes, samples=8, positive=sevens.positive)
    saved, values, picture = read(threes, own[1]), [g.node("UQTest_SaveValue", value=n[3]) for n in (own, other)], own[2]
    shown, drawn, kept = g.node("UQTest_SaveValue", value=picture), save(threes, threes.latent), save(threes, own)
    history = comfy.run(g)
    right, wrong = (comfy.value(history, v) for v in values)
    found = comfy.value(history, saved)[0]
    assert sum(right) > 0 > max(wrong) and all(r > w for r, w in zip(right, wrong, strict=True)) and len(right) == 3
    assert found["scores"] == right and found["direction"] == "low_is_bad" and found["quantity"] == "information"
    assert found["provenance"]["host"] == "comfyui" and not {"note", "caution"} & found["provenance"].keys()
    assert comfy.value(history, shown)[0]["shape"] == [3, 256, 256, 3]
    assert torch.equal(comfy.latent(history, kept)["samples"], comfy.latent(history, drawn)["samples"])


def test_it_is_what_the_diffusers_host_says(comfy: Server) -> None:
    s = demo(Graph(), 3)
    drawn, saved = save(s, s.latent), read(s, informed(s)[1])
    history = comfy.run(s.graph)
    x = comfy.latent(history, drawn)["samples"]
    options = InformationOptions(DrawOptions(2, 3, antithetic=True), StepWindow(0.45, 0.55), levels=2)
    every, none = each_class(CLASSES, NO_CLASS, x)
    same = information(*load_demo(), x, every[3], none, options).result
    found = comfy.value(history, saved)[0]
    torch.testing.assert_close(torch.tensor(found["scores"]), same.scores, rtol=0.02, atol=0.1)
    assert found["nfe"] == same.nfe


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_it_costs_two_calls_a_draw_whatever_the_cfg(comfy: Server, cfg: float) -> None:
    s = scene("flow", batch=2)
    latent = ksampler(s, cfg=cfg, steps=2)
    watched, count = counted(s)
    node = informed(watched, latent=latent)
    calls, saved = s.graph.node("UQTest_ReadCalls", calls=count[1], after=node), read(s, node[1])
    history = comfy.run(s.graph)
    found = comfy.value(history, saved)[0]
    assert sum(history.outputs[str(calls)]["rows"]) == 2 * (2 * 2 * 2)
    assert found["nfe"] == 2 * 2 * 2
    assert found["maps"]["shape"] == [2, 16, 8, 8] and found["finite"] and all(found["scores"])


def area(s: Scene) -> Node:
    part = s.graph.node("ConditioningSetArea", conditioning=text(s.graph, "flow", 3), width=64, height=64, x=0, y=0, strength=0.7)
    return s.graph.node("ConditioningCombine", conditioning_1=s.positive, conditioning_2=part)


def test_the_price_counts_every_part_of_a_conditioning(comfy: Server) -> None:
    s = scene("flow", batch=2, size=16, scale=1.0)
    watched, count = counted(s)
    node = informed(watched, positive=area(s))
    calls, saved = s.graph.node("UQTest_ReadCalls", calls=count[1], after=node), read(s, node[1])
    history = comfy.run(s.graph)
    found = comfy.value(history, saved)[0]
    assert found["nfe"] == sum(history.outputs[str(calls)]["rows"]) / 2 > 2 * 2 * 2


@pytest.mark.parametrize(("family", "distilled"), [("flux", True), ("flow", False), ("eps", False), ("video", False)])
def test_every_family_from_noise_to_image_and_a_caution_for_distilled_models(comfy: Server, family: str, distilled: bool) -> None:
    s = scene(family, batch=1, size=4, scale=1.0)
    saved = read(s, informed(s, start_percent=0.0, end_percent=1.0)[1])
    found = comfy.value(comfy.run(s.graph), saved)[0]
    assert found["finite"] and all(found["scores"])
    assert ("caution" in found["provenance"]) is distilled


def test_neighbours_do_not_matter(comfy: Server) -> None:
    s = demo(Graph(), 5)
    one = s.graph.node("LatentFromBatch", samples=s.latent, batch_index=1, length=1)
    whole, alone = read(s, informed(s)[1]), read(s, informed(s, latent=one)[1])
    history = comfy.run(s.graph)
    scores = comfy.value(history, whole)[0]["scores"]
    assert comfy.value(history, alone)[0]["scores"] == pytest.approx(scores[1:2], rel=1e-3)


def test_an_equal_condition_gives_zero_with_a_note(comfy: Server) -> None:
    s = demo(Graph(), 3)
    saved = read(s, informed(s, positive=s.negative)[1])
    found = comfy.value(comfy.run(s.graph), saved)[0]
    assert found["scores"] == [0.0, 0.0, 0.0]
    assert "for 3 of 3 images: their information is 0" in found["provenance"]["note"]


def test_filter_heatmap_and_report_take_it(comfy: Server) -> None:
    """Sevens that were asked to be threes are dropped."""
    g = Graph()
    threes, sevens = demo(g, 3), demo(g, 7)
    both = g.node("LatentBatch", samples1=sevens.latent, samples2=threes.latent)
    node = informed(threes, latent=both)
    filtered = g.node("UQ_SampleFilter", uncertainty=node[1], rule="drop_worst_percent", value=50.0, latents=both)
    kept = g.node("UQTest_SaveValue", value=filtered[6])
    heat = g.node("UQTest_SaveValue", value=g.node("UQ_Heatmap", uncertainty=node[1], opacity=1.0, colormap="viridis", percentile=90.0))
    report = g.node("UQ_Report", uncertainty=node[1], accepted_indexes=filtered[6])
    history = comfy.run(g)
    assert comfy.value(history, kept) == ["3,4,5"]
    assert comfy.value(history, heat)[0]["shape"] == [6, 32, 32, 3]
    assert str(report) in history.outputs


def test_the_checklist_names_the_phrase_that_is_ignored(comfy: Server) -> None:
    """The whole asks for a three. Without "three" it asks for nothing; "please" changes nothing, which is more than a seven heeds."""
    g = Graph()
    threes, sevens = demo(g, 3, batch=2), demo(g, 7, batch=2)
    both = g.node("LatentBatch", samples1=sevens.latent, samples2=threes.latent)
    prompts = g.node("UQTest_ListOf", a=threes.positive, b=threes.negative, c=threes.positive)
    watched, count = counted(threes.having(latent=both))
    node = checked(watched, prompts, "three\nplease")
    calls = g.node("UQTest_ReadCalls", calls=count[1], after=node[3])
    scores, maps, worst = (g.node("UQTest_SaveValue", value=node[i]) for i in range(3))
    saved, plain = read(threes, node[3]), read(threes, informed(threes, latent=both)[1])
    history = comfy.run(g)
    found, whole = comfy.value(history, saved)[0], comfy.value(history, plain)[0]
    assert comfy.value(history, worst) == ["three", "three", "please", "please"]
    assert comfy.value(history, scores) == pytest.approx(whole["scores"] + [0.0] * 4, rel=1e-4)
    assert found["scores"] == pytest.approx([*whole["scores"][:2], 0.0, 0.0], rel=1e-4)
    assert [m["shape"] for m in comfy.value(history, maps)] == [[4, 256, 256, 3]] * 2
    assert found["direction"] == "low_is_bad" and found["nfe"] == 3 * 2 * 2
    assert sum(history.outputs[str(calls)]["rows"]) == 4 * 3 * 2 * 2


def test_prompt_phrases_makes_what_the_checklist_takes(comfy: Server) -> None:
    s = scene("flow", batch=1, scale=1.0)
    node = s.graph.node("UQ_PromptPhrases", phrases="a cat\nin a hat,\n")
    values = [s.graph.node("UQTest_SaveValue", value=node[i]) for i in range(3)]
    prompts = s.graph.node("UQTest_ListOf", a=s.positive, b=text(s.graph, "flow", 5), c=text(s.graph, "flow", 6))
    worst = s.graph.node("UQTest_SaveValue", value=checked(s, prompts, node[2])[2])
    history = comfy.run(s.graph)
    expected = [["a cat, in a hat", "in a hat", "a cat"], ["a cat, in a hat"], ["a cat\nin a hat"]]
    assert [comfy.value(history, v) for v in values] == expected
    assert comfy.value(history, worst)[0] in ("a cat", "in a hat")


@pytest.mark.parametrize(
    ("wires", "match"),
    [
        ({"positive": None}, "Required input is missing: positive"),
        ({"samples": 3}, "samples must be even for antithetic draws"),
        ({"start_percent": 0.7}, "start_percent must not exceed end_percent"),
    ],
)
def test_bad_values_are_refused_before_anything_runs(comfy: Server, wires: dict[str, Any], match: str) -> None:
    s = scene("flow", scale=1.0)
    save(s, informed(s, **wires))
    with pytest.raises(PromptRefused, match=match):
        comfy.run(s.graph)


def refused(comfy: Server, s: Scene, node: Any, match: str) -> None:
    s.graph.node("UQTest_SaveValue", value=node)
    with pytest.raises(PromptFailed, match=match):
        comfy.run(s.graph)


def test_bad_input_is_a_sentence(comfy: Server) -> None:
    s = scene("flow", scale=0.0)
    refused(comfy, s, informed(s), "latent is empty: connect the output of a sampler")
    s = scene("flow", scale=1.0)
    early = s.graph.node("ConditioningSetTimestepRange", conditioning=s.negative, start=0.0, end=0.1)
    refused(comfy, s, informed(s, negative=early), "No part of negative acts at noise level")
    s = scene("flow", scale=1.0)
    refused(comfy, s, informed(s, positive=s.graph.node("UQTest_NoConditioning")), "There is no condition in positive: connect a prompt")


@pytest.mark.parametrize(("labels", "match"), [("a\nb", "got 2 for 2 labels; give one more"), ("", "got 2 for 0 labels")])
def test_lists_that_do_not_match_are_refused(comfy: Server, labels: str, match: str) -> None:
    s = scene("flow", scale=1.0)
    refused(comfy, s, checked(s, s.graph.node("UQTest_ListOf", a=s.positive, b=s.negative), labels)[2], match)
