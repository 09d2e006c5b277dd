"""Every family of models and every kind of conditioning: measured, scored, guided, and left alone, at the price that is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import tiny_checkpoints as tiny
from comfy_client import History
from comfy_graph import Node
from comfy_scenes import FAMILIES, Scene, ksampler, scene, text
from comfy_server import Server
from comfy_uncertainty import advanced, estimator, guidance, read, record, samples, save, save_uncertainty, uncertainty

STEPS = 3


def counted(s: Scene) -> tuple[Scene, Node]:
    node = s.graph.node("UQTest_CountCalls", model=s.model)
    return s.having(model=node), node


def rows(history: History, node: Node) -> int:
    return sum(history.outputs[str(node)]["rows"])


class Trial:
    """One graph that samples a scene plainly, watched and guided, and scores the plain latent; each model call is counted."""

    def __init__(self, s: Scene, sample: Callable[[Scene], Node], cfg: float, **options: Any) -> None:
        self.s, self.counts, self.saved = s, {}, {}
        plain = self.drawn("plain", counted(s), sample)
        scored, count = counted(s)
        watched, patch = record(scored, **options)
        self.recorded = read(s, self.drawn("recorded", (watched, count), sample), patch)
        scored, count = counted(s)
        steered, patch = guidance(scored, **options)
        self.guided = read(s, self.drawn("guided", (steered, count), sample), patch)
        scored, count = counted(s)
        negative = {"negative": s.negative, "cfg": cfg} if cfg != 1 else {}
        score = estimator(scored, plain, **negative)
        self.estimated = save_uncertainty(s, score[1])
        self.counts["estimated"] = s.graph.node("UQTest_ReadCalls", calls=count[1], after=score)

    def drawn(self, name: str, watched: tuple[Scene, Node], sample: Callable[[Scene], Node]) -> Node:
        s, count = watched
        latent = sample(s)
        self.saved[name] = save(s, latent, name)
        self.counts[name] = s.graph.node("UQTest_ReadCalls", calls=count[1], after=latent)
        return latent

    def check(self, comfy: Server) -> None:
        history = comfy.run(self.s.graph)
        latents = {name: samples(comfy, history, node) for name, node in self.saved.items()}
        plain = latents["plain"]
        assert plain.isfinite().all() and plain.std() > 0
        assert torch.equal(latents["recorded"], plain)
        moved = (latents["guided"] - plain).std() / plain.std()
        assert latents["guided"].isfinite().all() and moved > 1e-3
        calls = {name: rows(history, node) for name, node in self.counts.items()}
        batch = len(plain)
        for name, node in (("recorded", self.recorded), ("guided", self.guided), ("estimated", self.estimated)):
            found = uncertainty(comfy, history, node)
            extra = calls[name] - (calls["plain"] if name != "estimated" else 0)
            assert len(found["scores"]) == batch
            assert found["maps"]["shape"] == list(plain.shape)
            assert found["nfe"] == pytest.approx(extra / batch), name
        assert "control could not be applied" not in comfy.log()


def sampling(sampler: str = "euler", cfg: float = 4.0, denoise: float = 1.0) -> Callable[[Scene], Node]:
    return lambda s: ksampler(s, sampler, STEPS, cfg, denoise=denoise)


@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_with_and_without_cfg(comfy: Server, family: str, cfg: float) -> None:
    size = 4 if family in ("eps", "v", "edm") else 8
    Trial(scene(family, batch=2, size=size), sampling(cfg=cfg), cfg, start_percent=0.2).check(comfy)


@pytest.mark.parametrize("sampler", ["heun", "dpmpp_sde", "euler_ancestral_cfg_pp", "lcm", "uni_pc"])
def test_samplers_that_go_their_own_way(comfy: Server, sampler: str) -> None:
    Trial(scene("flow", batch=3), sampling(sampler), 4.0).check(comfy)


def area(s: Scene) -> Scene:
    g = s.graph
    left = g.node("ConditioningSetArea", conditioning=s.positive, width=64, height=64, x=0, y=0, strength=0.7)
    mask = g.node("SolidMask", value=0.5, width=128, height=128)
    other = g.node("ConditioningSetMask", conditioning=text(g, "flow", 3, 9), mask=mask, strength=1.0, set_cond_area="default")
    return s.having(positive=g.node("ConditioningCombine", conditioning_1=left, conditioning_2=other))


def two_prompts(s: Scene) -> Scene:
    both = s.graph.node("ConditioningCombine", conditioning_1=s.positive, conditioning_2=text(s.graph, "flow", 3, 9))
    return s.having(positive=both)


def time_ranges(s: Scene) -> Scene:
    g = s.graph
    early = g.node("ConditioningSetTimestepRange", conditioning=s.positive, start=0.0, end=0.5)
    late = g.node("ConditioningSetTimestepRange", conditioning=text(g, "flow", 3), start=0.5, end=1.0)
    return s.having(positive=g.node("ConditioningCombine", conditioning_1=early, conditioning_2=late))


def lora_hook(s: Scene) -> Scene:
    g = s.graph
    hooks = g.node("CreateHookLoraModelOnly", lora_name=tiny.SD3_LORA, strength_model=2.0)
    timed = g.node("CreateHookKeyframe", strength_mult=1.0, start_percent=0.0)
    timed = g.node("CreateHookKeyframe", strength_mult=0.2, start_percent=0.6, prev_hook_kf=timed)
    hooks = g.node("SetHookKeyframes", hooks=hooks, hook_kf=timed)
    return s.having(positive=g.node("ConditioningSetProperties", cond_NEW=s.positive, strength=1.0, set_cond_area="default", hooks=hooks))


def lora(s: Scene) -> Scene:
    return s.having(model=s.graph.node("LoraLoaderModelOnly", model=s.model, lora_name=tiny.SD3_LORA, strength_model=2.0))


def inpaint(s: Scene) -> Scene:
    mask = s.graph.node("SolidMask", value=1.0, width=64, height=128)
    return s.having(latent=s.graph.node("SetLatentNoiseMask", samples=s.latent, mask=mask))


def batch_index(s: Scene) -> Scene:
    return s.having(latent=s.graph.node("UQTest_BatchIndex", latent=s.latent, indexes="5,2"))


@pytest.mark.parametrize("change", [area, two_prompts, time_ranges, lora_hook, lora, inpaint, batch_index])
def test_every_kind_of_conditioning_and_latent(comfy: Server, change: Callable[[Scene], Scene]) -> None:
    s = change(scene("flow", batch=2, size=16, tokens=(7, 5), scale=1.0))
    Trial(s, sampling("euler_ancestral", denoise=0.7), 4.0).check(comfy)


@pytest.mark.parametrize("tokens", [(7, 7), (77, 154)])
def test_prompts_of_equal_and_of_other_length(comfy: Server, tokens: tuple[int, int]) -> None:
    Trial(scene("flow", batch=2, tokens=tokens), sampling(), 4.0).check(comfy)


@pytest.mark.parametrize("hints", [1, 2])
@pytest.mark.parametrize("loader", [("ControlNetLoader", {"control_net_name": tiny.SD15_CONTROL}), ("UQTest_Adapter", {})])
def test_controlnet_and_adapter(comfy: Server, loader: tuple[str, dict[str, str]], hints: int) -> None:
    s = scene("v", batch=2, size=8, tokens=(7, 7))
    net = s.graph.node(loader[0], **loader[1])
    hint = s.graph.node("UQTest_NumberedImages", first=50, count=hints, size=64)
    wires = {"positive": s.positive, "negative": s.negative, "control_net": net, "image": hint}
    both = s.graph.node("ControlNetApplyAdvanced", **wires, strength=0.5, start_percent=0.0, end_percent=1.0)
    # 6 rows against the 4 of prompt and negative: what an adapter keeps does not fit
    Trial(s.having(positive=both[0], negative=both[1]), sampling(), 4.0, start_percent=0.4, samples=3).check(comfy)


@pytest.mark.parametrize("node", ["CFGGuider", "BasicGuider", "DualCFGGuider"])
def test_custom_sampling_with_stock_guiders(comfy: Server, node: str) -> None:
    def sample(s: Scene) -> Node:
        prompts = {"positive": s.positive, "negative": s.negative, "cfg": 3.0}
        if node == "BasicGuider":
            prompts = {"conditioning": s.positive}
        if node == "DualCFGGuider":
            conds = {"cond1": s.positive, "cond2": text(s.graph, "flow", 3), "negative": s.negative}
            prompts = {**conds, "cfg_conds": 3.0, "cfg_cond2_negative": 2.0, "style": "regular"}
        return advanced(s, s.graph.node(node, model=s.model, **prompts))

    Trial(scene("flow", batch=2), sample, 1.0).check(comfy)
