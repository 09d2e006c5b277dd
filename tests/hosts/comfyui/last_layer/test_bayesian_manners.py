"""Generative Uncertainty, BayesDiff and Dropout Uncertainty on a real ComfyUI: nothing sticks, cost is told, errors are sentences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import tiny_checkpoints as tiny
from comfy_bayes import bayesdiff, clip, decoder, dropout, fitted, generative
from comfy_client import PromptFailed, PromptInterrupted, PromptRefused
from comfy_events import Events
from comfy_graph import Node
from comfy_scenes import FAMILIES, Scene, ksampler, scene, text
from comfy_server import Server
from comfy_uncertainty import samples, save, save_uncertainty
from comfy_untouched import check_untouched, plain_run


def failed(comfy: Server, s: Scene, node: Any, sentence: str, error: type[Exception] = PromptFailed) -> None:
    save(s, node)
    with pytest.raises(error, match=sentence):
        comfy.run(s.graph)


def test_what_cannot_be_scored_is_one_sentence(comfy: Server) -> None:
    s = scene("flow")
    failed(comfy, s, dropout(s, ksampler(s)), "has no dropout layer with p above 0, so MC dropout cannot vary it; choose another estimator")
    s = scene("flow")
    failed(
        comfy, s, generative(s, fitted(s), decoder(s), clip_vision=clip(s, broken=True)), "encoder must give one feature vector an image"
    )
    s = scene("flow")
    failed(comfy, s, bayesdiff(s, fitted(s), sampler_name="heun"), "sampler_name", PromptRefused)
    s = scene("flow")
    both = s.graph.node("ConditioningCombine", conditioning_1=s.positive, conditioning_2=s.negative)
    failed(comfy, s, bayesdiff(s.having(positive=both), fitted(s)), "positive must be one prompt for the whole image at each step")
    s = scene("flux")
    other = fitted(s, "flux", model=s.graph.node("UQTest_TinyFlux", seed=2))
    for node in (generative(s, other, decoder(s)), bayesdiff(s, other)):
        failed(comfy, s, node, "for other weights of layer 'final_layer.linear' than this model has")
    s = scene("eps")
    failed(comfy, s, bayesdiff(s, fit_of(s, "flow")), "for layer 'final_layer.linear', which UNetModel does not have")


def fit_of(s: Scene, family: str) -> Node:
    """A fit of another family's model, with that family's prompt."""
    return fitted(s.having(positive=text(s.graph, family, 1)), family)


@pytest.fixture(scope="module")
def untouched(comfy: Server) -> tuple[Tensor, Any, Any]:
    return plain_run(comfy, 5001)


def fitting(s: Scene) -> Node:
    """A fit of the scene's own model, with something behind it that takes a latent."""
    return bayesdiff(s.having(model=FAMILIES["flow"].load(s.graph)), fitted(s, model=s.model, draws=2), cfg=4.0)


def drawing(s: Scene) -> Node:
    return generative(s, fitted(s), decoder(s), clip_vision=clip(s))


USES = {"fit": fitting, "generative": drawing, "bayesdiff": lambda s: bayesdiff(s, fitted(s), cfg=4.0)}
HOW = {"error": "raised on purpose", "memory": "out of memory on purpose"}


def disturbing(use: str, how: str) -> tuple[str, dict[str, Any]]:
    """The node that strikes in the midst: of generative uncertainty while the drawn weights are in place."""
    if use == "generative":
        return "UQTest_DisturbDrawn", {"layer": "final_layer.linear", "how": how}
    return {
        "error": ("UQTest_RaiseAtCall", {"call": 2}),
        "memory": ("UQTest_OutOfMemory", {"rows": 0, "from_call": 2, "times": 99}),
        "cancel": ("UQTest_CancelAtCall", {"call": 2}),
    }[how]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("how", [None, "error", "memory", "cancel"])
def test_nothing_is_left_behind(comfy: Server, untouched: tuple, use: str, how: str | None) -> None:
    s = scene("flow", batch=2, tokens=(7, 7))
    if how is not None:
        node, options = disturbing(use, how)
        s = s.having(model=s.graph.node(node, model=s.model, **options))
    save(s, USES[use](s))
    if how is None:
        comfy.run(s.graph)
    else:
        with pytest.raises(PromptInterrupted if how == "cancel" else PromptFailed, match=HOW.get(how)):
            comfy.run(s.graph)
    check_untouched(comfy, untouched, 5100 + 10 * list(USES).index(use) + [None, "error", "memory", "cancel"].index(how))


@pytest.mark.parametrize("how", ["offloaded", "lora", "fp8"])
def test_weights_may_be_elsewhere_patched_or_small(comfy: Server, how: str) -> None:
    s = scene("flow", batch=2, tokens=(7, 7), salt=6)
    makers = {
        "offloaded": lambda: s.graph.node("UQTest_PartlyOffloaded", model=s.model),
        "lora": lambda: s.graph.node("LoraLoaderModelOnly", model=s.model, lora_name=tiny.SD3_LORA, strength_model=1.0),
        "fp8": lambda: s.graph.node("UNETLoader", unet_name=tiny.SD3, weight_dtype="fp8_e4m3fn"),
    }
    there = s.having(model=makers[how]())
    laplace = fitted(there, model=there.model)
    plain, drawn = ksampler(there), generative(there, laplace, decoder(s), clip_vision=clip(s))
    kept = [save(s, node) for node in (plain, drawn, bayesdiff(there, laplace, cfg=4.0))]
    found = save_uncertainty(s, drawn[2])
    history = comfy.run(s.graph)
    stock, *ours = (samples(comfy, history, node) for node in kept)
    assert all(torch.equal(latent, stock) for latent in ours)
    assert min(comfy.value(history, found)[0]["total"]) > 0


def test_cost_is_told_before_and_progress_counts_it(comfy: Server) -> None:
    for make, total, sentence in (
        (lambda s: drawing(s), 3 * 4, "2 further samplings of 4 steps"),
        (lambda s: bayesdiff(s, fitted(s), skip=2), 4 + 2 + 3, "5 further model calls per image in 4 steps"),
    ):
        s, log = scene("flow", salt=9), len(comfy.log())
        node = make(s)
        save(s, node)
        with Events(comfy) as events:
            comfy.run(s.graph, client_id=events.client_id)
            events.wait_for("execution_success")
        told = [p for p in events.of("progress") if p["node"] == str(node)]
        values = [p["value"] for p in told]
        assert {p["max"] for p in told} == {total} and values == sorted(values) and values[-1] == total
        assert events.previews and sentence in comfy.log()[log:]


def test_the_bundled_features_are_said_to_know_digits_only(comfy: Server) -> None:
    s, log = scene("flow", salt=10), len(comfy.log())
    found = save_uncertainty(s, generative(s, fitted(s), decoder(s))[2])
    provenance = comfy.value(comfy.run(s.graph), found)[0]["provenance"]
    assert "handwritten digits only" in provenance["caution"] and "handwritten digits only" in comfy.log()[log:]
