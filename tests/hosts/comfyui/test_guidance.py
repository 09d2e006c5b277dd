"""Guidance in every mode moves the image and leaves the model as it was; autograd works on weights of inference mode, or says why not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import tiny_checkpoints as tiny
from comfy_client import PromptFailed
from comfy_graph import Node
from comfy_scenes import Scene, ksampler, scene
from comfy_server import Server
from comfy_uncertainty import guidance, guided_sampler, read, samples, save, save_uncertainty, uncertainty

MODES = ["forward", "autograd", "posterior"]
LOADERS = {
    "cast": ("UNETLoader", {"unet_name": tiny.SD3, "weight_dtype": "fp8_e4m3fn"}),
    "lora": ("LoraLoaderModelOnly", {"lora_name": tiny.SD3_LORA, "strength_model": 2.0}),
}


def loaded(s: Scene, how: str) -> Scene:
    """The flow model with weights in 8 bits that are cast at each use, or with a LoRA in its weights."""
    node, options = LOADERS[how]
    model = {} if node == "UNETLoader" else {"model": s.model}
    return s.having(model=s.graph.node(node, **model, **options))


def state(s: Scene, after: Node, model: Node) -> Node:
    return s.graph.node("UQTest_ModelState", model=model, after=after)


def warnings_since(comfy: Server, start: int) -> list[str]:
    return [line for line in comfy.log()[start:].splitlines() if "Uncertainty guidance" in line]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", ["flow", "flux", "video", "eps", "v"])
def test_every_mode_moves_the_latent_and_leaves_the_model(comfy: Server, family: str, mode: str) -> None:
    log = len(comfy.log())
    s = scene(family, batch=2, size=4 if family in ("eps", "v") else 8)
    before = save(s, plain := ksampler(s, steps=3))
    fresh = state(s, plain, s.model)
    drawn = guided_sampler(s, mode=mode, steps=3)
    moved, found, left = save(s, drawn), save_uncertainty(s, drawn[1]), state(s, drawn, s.model)
    history = comfy.run(s.graph)
    a, b = samples(comfy, history, before), samples(comfy, history, moved)
    assert b.isfinite().all() and (b - a).std() / a.std() > 1e-3
    assert not warnings_since(comfy, log)
    assert f"guidance {mode}" in " ".join(f"{k} {v}" for k, v in uncertainty(comfy, history, found)["provenance"].items())
    assert comfy.value(history, left) == comfy.value(history, fresh)


def drawn_with(comfy: Server, s: Scene, **options: object) -> Tensor:
    saved = save(s, guided_sampler(s, **options))
    return samples(comfy, comfy.run(s.graph), saved)


@pytest.mark.parametrize("how", LOADERS)
def test_autograd_on_cast_weights_and_on_loras(comfy: Server, how: str) -> None:
    log = len(comfy.log())
    plain, exact = (drawn_with(comfy, loaded(scene("flow", batch=2), how), strength=v, mode="autograd") for v in (0.0, 0.1))
    assert exact.isfinite().all() and not torch.equal(exact, plain)
    assert not warnings_since(comfy, log)


def test_autograd_with_areas_controls_and_hooks(comfy: Server) -> None:
    log = len(comfy.log())
    s = scene("flow", batch=2, size=16)
    mask = s.graph.node("SolidMask", value=0.5, width=128, height=128)
    masked = s.graph.node("ConditioningSetMask", conditioning=s.positive, mask=mask, strength=1.0, set_cond_area="default")
    hooks = s.graph.node("CreateHookLoraModelOnly", lora_name=tiny.SD3_LORA, strength_model=2.0)
    hooked = s.graph.node("ConditioningSetProperties", cond_NEW=masked, strength=1.0, set_cond_area="default", hooks=hooks)
    assert drawn_with(comfy, s.having(positive=hooked), mode="autograd").isfinite().all()
    s = scene("v", batch=1, size=8)
    net = s.graph.node("ControlNetLoader", control_net_name=tiny.SD15_CONTROL)
    hint = s.graph.node("EmptyImage", width=64, height=64, batch_size=1, color=0x336699)
    wires = {"positive": s.positive, "negative": s.negative, "control_net": net, "image": hint}
    both = s.graph.node("ControlNetApplyAdvanced", **wires, strength=0.5, start_percent=0.0, end_percent=1.0)
    s = s.having(positive=both[0], negative=both[1])
    assert drawn_with(comfy, s, mode="autograd", steps=2).isfinite().all()
    assert not warnings_since(comfy, log)


@pytest.mark.parametrize(("share", "says"), [(0.0, "gives no gradient"), (0.5, "% off what a finite difference shows")])
def test_a_missing_or_wrong_gradient_is_noticed_and_forward_goes_on(comfy: Server, share: float, says: str) -> None:
    log = len(comfy.log())
    s = scene("flow", batch=2)
    s = s.having(model=s.graph.node("UQTest_Gradient", model=s.model, share=share))
    exact = save(s, guided_sampler(s, mode="autograd"))
    forward = save(s, guided_sampler(s, mode="forward"))
    history = comfy.run(s.graph)
    (warning,) = warnings_since(comfy, log)
    assert says in warning and "'forward'" in warning
    assert torch.equal(samples(comfy, history, exact), samples(comfy, history, forward))


def test_a_true_gradient_is_not_refused(comfy: Server) -> None:
    log = len(comfy.log())
    s = scene("flow", batch=2)
    assert drawn_with(comfy, s.having(model=s.graph.node("UQTest_Gradient", model=s.model, share=1.0)), mode="autograd").isfinite().all()
    assert not warnings_since(comfy, log)


def test_strength_is_the_size_of_the_correction(comfy: Server) -> None:
    moved = []
    for strength in (0.0, 0.01, 0.02, -0.02):
        moved.append(drawn_with(comfy, scene("flow", batch=2), strength=strength, steps=4, start_percent=0.6))
    small, double, back = ((m - moved[0]).norm() for m in moved[1:])
    assert double / small == pytest.approx(2.0, rel=0.1)
    assert back / double == pytest.approx(1.0, rel=0.1)


def test_the_window_and_the_percentile_limit_what_moves(comfy: Server) -> None:
    plain, late, few, all_of_it = (
        drawn_with(comfy, scene("flow", batch=2), **options)
        for options in ({"strength": 0.0}, {"start_percent": 0.999}, {"percentile": 99.0}, {"percentile": 0.0})
    )
    assert torch.equal(late, plain)
    assert 0 < (few - plain).norm() < 0.5 * (all_of_it - plain).norm()


def test_the_paper_preset_is_the_papers_setting(comfy: Server) -> None:
    paper = drawn_with(comfy, scene("flow"), preset="paper", strength=0.5, mode="posterior")
    written_out = {"strength": 1.0, "percentile": 95.0, "samples": 5, "mode": "autograd", "units": "raw"}
    assert torch.equal(paper, drawn_with(comfy, scene("flow"), **written_out))


def test_a_calibration_replaces_the_percentile(comfy: Server) -> None:
    drawn = []
    for value in (None, 1e6, 1e-9):
        s = scene("flow", batch=2)
        calibration = s.graph.node("UQTest_Thresholds", quantity="noise", value=value) if value else None
        drawn.append(drawn_with(comfy, s, percentile=0.0, calibration=calibration))
    plain = drawn_with(comfy, scene("flow", batch=2), strength=0.0)
    assert torch.equal(drawn[1], plain)  # no pixel exceeds it
    assert (drawn[2] - drawn[0]).norm() < 0.01 * (drawn[0] - plain).norm()  # all but every pixel does


def test_a_calibration_of_another_quantity_is_refused(comfy: Server) -> None:
    s = scene("flow")
    calibration = s.graph.node("UQTest_Thresholds", quantity="denoised", value=1.0)
    save(s, guided_sampler(s, calibration=calibration))
    with pytest.raises(PromptFailed, match="calibration must be of the quantity noise"):
        comfy.run(s.graph)


def test_what_is_recorded_under_guidance_compares_across_strengths(comfy: Server) -> None:
    levels = []
    for strength, steps in ((0.0, 20), (0.05, 20), (0.0, 2), (0.05, 2)):
        s = scene("flow", batch=2)
        drawn = guided_sampler(s, strength=strength, steps=steps)
        patched, patch = guidance(s, strength=strength)
        found, recorded = save_uncertainty(s, drawn[1]), read(s, ksampler(patched, steps=steps), patch)
        history = comfy.run(s.graph)
        one, other = (uncertainty(comfy, history, node) for node in (found, recorded))
        assert one["scores"] == other["scores"]
        levels.append(one["sigmas"])
    assert levels[0] == levels[1] and len(levels[0]) > 1
    assert levels[2] == levels[3] and len(levels[2]) == 1  # no step lies in the window: the nearest one
