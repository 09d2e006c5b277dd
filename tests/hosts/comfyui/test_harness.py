"""The tools of the other host tests, proven on a plain ComfyUI: none of our nodes is used here."""

from __future__ import annotations

import pytest
import torch

import tiny_checkpoints as tiny
from comfy_client import PromptFailed, PromptInterrupted, PromptRefused
from comfy_events import Events
from comfy_graph import Graph, Node
from comfy_scenes import FAMILIES, Scene, ksampler, scene
from comfy_server import Server

SAMPLERS = ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "ddim", "uni_pc", "lcm"]
COMBINATIONS = [("flow", s) for s in SAMPLERS] + [(f, "dpmpp_2m") for f in FAMILIES if f != "flow"]


def sampled(comfy: Server, s: Scene, **options: object) -> torch.Tensor:
    """The latent of a stock KSampler, which must not come from the cache."""
    sampler = ksampler(s, **{"steps": 3, **options})
    saved = s.graph.node("UQTest_SaveLatent", latent=sampler, name="latent")
    history = comfy.run(s.graph)
    assert not {str(sampler), str(saved)} & history.cached
    return comfy.latent(history, saved)["samples"]


@pytest.mark.parametrize(("family", "sampler"), COMBINATIONS)
def test_two_runs_of_the_stock_sampler_are_equal_bit_for_bit(comfy: Server, family: str, sampler: str) -> None:
    first, again = (sampled(comfy, scene(family, batch=2, salt=salt), sampler=sampler) for salt in (1, 2))
    other = sampled(comfy, scene(family, batch=2), sampler=sampler, seed=2)
    assert first.isfinite().all() and first.std() > 0.1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_latents_have_the_shape_of_their_family(comfy: Server) -> None:
    assert sampled(comfy, scene("eps", batch=3, size=16), steps=1).shape == (3, 4, 16, 16)
    assert sampled(comfy, scene("video", size=16), steps=1).shape == (1, 16, 2, 16, 16)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_reaches_the_model(comfy: Server, family: str) -> None:
    s = scene(family)
    swapped = s.having(positive=s.negative, negative=s.positive)
    assert not torch.equal(sampled(comfy, s), sampled(comfy, swapped))


def test_lora_changes_the_result(comfy: Server) -> None:
    plain = sampled(comfy, scene("flow"))
    s = scene("flow")
    model = s.graph.node("LoraLoaderModelOnly", model=s.model, lora_name=tiny.SD3_LORA, strength_model=2.0)
    assert not torch.equal(plain, sampled(comfy, s.having(model=model)))


def test_controlnet_changes_the_result(comfy: Server) -> None:
    plain = sampled(comfy, scene("v"))
    s = scene("v")
    net = s.graph.node("ControlNetLoader", control_net_name=tiny.SD15_CONTROL)
    hint = s.graph.node("EmptyImage", width=64, height=64, batch_size=1, color=0x336699)
    wires = {"positive": s.positive, "negative": s.negative, "control_net": net, "image": hint}
    both = s.graph.node("ControlNetApplyAdvanced", **wires, strength=1.0, start_percent=0.0, end_percent=1.0)
    assert not torch.equal(plain, sampled(comfy, s.having(positive=both[0], negative=both[1])))


def test_images_come_back(comfy: Server) -> None:
    s = scene("v", batch=2)
    vae = s.graph.node("VAELoader", vae_name=tiny.TAESD)
    image = s.graph.node("VAEDecode", samples=ksampler(s), vae=vae)
    saved = s.graph.node("SaveImage", images=image, filename_prefix="harness")
    shape = s.graph.node("UQTest_SaveValue", value=image)
    history = comfy.run(s.graph)
    assert [comfy.fetch_output(file)[:4] for file in history.outputs[str(saved)]["images"]] == [b"\x89PNG"] * 2
    assert comfy.value(history, shape)[0]["shape"] == [2, 64, 64, 3]


def test_network_calls_are_counted_for_each_run_alone(comfy: Server) -> None:
    for salt in (1, 2):
        s = scene("flow", batch=3, tokens=(7, 7), salt=salt)
        counted = s.graph.node("UQTest_CountCalls", model=s.model)
        read = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=ksampler(s.having(model=counted), steps=5))
        assert comfy.run(s.graph).outputs[str(read)]["rows"] == [6] * 5  # prompt and negative in one call


def after_sampling(comfy: Server, salt: int, seed: int = 1) -> tuple[dict, dict]:
    """Random state and model state behind a plain run."""
    s = scene("flow", salt=salt)
    done = ksampler(s, seed=seed)
    random = s.graph.node("UQTest_RandomState", after=done)
    model = s.graph.node("UQTest_ModelState", model=s.model, after=done)
    history = comfy.run(s.graph)
    return comfy.value(history, random)[0], comfy.value(history, model)[0]


def test_states_are_equal_after_equal_runs(comfy: Server) -> None:
    first, again, other = after_sampling(comfy, 1), after_sampling(comfy, 2), after_sampling(comfy, 3, seed=2)
    assert first == again
    assert first[0]["torch"] != other[0]["torch"]
    assert first[1]["hooks"] == first[1]["patches"] == 0 and len(first[1]["weights"]) == 16


def test_a_partly_offloaded_model_casts_its_weights_and_samples_the_same(comfy: Server) -> None:
    plain = sampled(comfy, scene("flow"))
    s = scene("flow", salt=1)
    done = ksampler(s.having(model=s.graph.node("UQTest_PartlyOffloaded", model=s.model)), steps=3)
    saved = s.graph.node("UQTest_SaveLatent", latent=done, name="latent")
    state = s.graph.node("UQTest_ModelState", model=s.model, after=done)
    history = comfy.run(s.graph)
    assert comfy.value(history, state)[0]["cast"] > 0
    assert after_sampling(comfy, 2)[1]["cast"] == 0
    assert torch.equal(plain, comfy.latent(history, saved)["samples"])


def disturbed(node: str, **options: object) -> tuple[Scene, Node]:
    s = scene("flow", batch=2, tokens=(7, 7))
    s = s.having(model=s.graph.node(node, model=s.model, **options))
    done = ksampler(s)
    s.graph.node("UQTest_SaveLatent", latent=done, name="latent")
    return s, done


def test_an_exception_in_the_network_is_told_with_its_node(comfy: Server) -> None:
    s, done = disturbed("UQTest_RaiseAtCall", call=3)
    with pytest.raises(PromptFailed, match=rf"KSampler \(node {done}\): raised on purpose") as failure:
        comfy.run(s.graph)
    assert failure.value.details["exception_type"] == "ValueError"
    assert "raised on purpose" in comfy.log()


@pytest.mark.parametrize(("rows", "fails"), [(3, True), (4, False)])
def test_memory_runs_out_above_the_given_rows(comfy: Server, rows: int, fails: bool) -> None:
    s, _ = disturbed("UQTest_OutOfMemory", rows=rows, from_call=2, times=1)
    if not fails:
        comfy.run(s.graph)
        return
    with pytest.raises(PromptFailed, match="out of memory on purpose"):
        comfy.run(s.graph)


def test_progress_is_heard_and_a_prompt_can_be_cancelled(comfy: Server) -> None:
    s, done = disturbed("UQTest_Wait", seconds=0.2)
    with Events(comfy) as events:
        prompt = comfy.queue(s.graph, client_id=events.client_id)
        assert events.wait_for("progress")[0]["max"] == 4
        comfy.cancel()
        with pytest.raises(PromptInterrupted, match=rf"KSampler \(node {done}\)"):
            comfy.wait(prompt).raise_for_status()


def test_every_step_and_its_preview_are_heard(comfy: Server) -> None:
    s = scene("flow")
    s.graph.node("UQTest_SaveLatent", latent=ksampler(s, steps=3), name="latent")
    with Events(comfy) as events:
        comfy.run(s.graph, client_id=events.client_id)
        events.wait_for("execution_success")
    assert [p["value"] for p in events.of("progress")] == [1, 2, 3]
    assert events.previews


def test_a_refused_prompt_names_node_and_input(comfy: Server) -> None:
    s = scene("flow")
    s.graph.node("UQTest_SaveLatent", latent=ksampler(s, sampler="no such sampler"), name="latent")
    with pytest.raises(PromptRefused, match="KSampler.*sampler_name.*no such sampler"):
        comfy.run(s.graph)


def test_nodes_that_did_not_run_again_are_told(comfy: Server) -> None:
    first, second = scene("flow", salt=7), scene("flow", salt=7)
    for s, name in ((first, "first"), (second, "second")):
        done = ksampler(s, steps=1)
        saved = s.graph.node("UQTest_SaveLatent", latent=done, name=name)
        history = comfy.run(s.graph)
    assert str(done) in history.cached
    assert str(saved) not in history.cached


def test_a_graph_is_a_prompt_in_api_format() -> None:
    g = Graph()
    loader = g.node("Loader", name="a")
    g.node("User", first=loader, second=loader[1], absent=None)
    assert g == {
        "1": {"class_type": "Loader", "inputs": {"name": "a"}},
        "2": {"class_type": "User", "inputs": {"first": ["1", 0], "second": ["1", 1]}},
    }
