"""Searches in the scenes of comfy_scenes, with every input at its default unless told otherwise."""

from __future__ import annotations

from typing import Any

from comfy_client import History
from comfy_graph import Node
from comfy_scenes import Scene
from comfy_server import Server
from comfy_uncertainty import GUIDANCE, SAMPLING

SEARCH = {"candidates": 4, "points": "0.5", "fractions": "0.5", "scorer": "denoised", "second_scorer": "none", "mode": "prune"}
SEARCH |= {"samples": 2, "micro_batch": 1}
SWEEP = {name: value for name, value in GUIDANCE.items() if name != "preset"} | {"mode": "posterior", "strength": 0.02}
BEST = {**SEARCH, "keep": 1, "limit": 50.0, "sharpness": 1.0}


def wires(s: Scene) -> dict[str, Any]:
    return {"model": s.model, "positive": s.positive, "negative": s.negative, "latent_image": s.latent}


def best_of(s: Scene, calibration: Any = None, **options: Any) -> Node:
    return s.graph.node("UQ_BestOfN", **wires(s), calibration=calibration, **SAMPLING | BEST | options)


def best_sampler(s: Scene, inner: str, **options: Any) -> Node:
    chosen = s.graph.node("KSamplerSelect", sampler_name=inner)
    return s.graph.node("UQ_BestOfNSampler", sampler=chosen, **SEARCH | options)


def value(s: Scene, node: Any) -> Node:
    return s.graph.node("UQTest_SaveValue", value=node)


def values(comfy: Server, history: History, node: Node) -> list[Any]:
    return comfy.value(history, node)


UNTIL = {"wanted": 1, "max_attempts": 8, "scorer": "denoised", "samples": 2, "levels": 2}


def until(s: Scene, **options: Any) -> Node:
    return s.graph.node("UQ_SampleUntilAccepted", **wires(s), **SAMPLING | UNTIL | options)


DRAFT = {"candidates": 3, "point": 0.5, "scorer": "denoised", "samples": 2, "micro_batch": 1}


def draft(s: Scene, **options: Any) -> Node:
    return s.graph.node("UQ_DraftCandidates", **wires(s), **SAMPLING | DRAFT | options)


def finish(s: Scene, drafts: Any, chosen: str = "best", keep: int = 1) -> Node:
    return s.graph.node("UQ_FinishDrafts", drafts=drafts, chosen=chosen, keep=keep)


def sweep(s: Scene, vae: Any, values: str, setting: str = "strength", **options: Any) -> Node:
    return s.graph.node("UQ_StrengthSweep", **wires(s), vae=vae, values=values, sweep=setting, **SAMPLING | SWEEP | options)
