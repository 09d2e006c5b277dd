"""Our nodes in the scenes of comfy_scenes, with every input at its default unless told otherwise."""

from __future__ import annotations

from itertools import count
from typing import Any

from torch import Tensor

from comfy_client import History
from comfy_graph import Node
from comfy_scenes import Scene
from comfy_server import Server

RECORD = {"samples": 2, "start_percent": 0.0, "end_percent": 1.0, "every": 1, "quantity": "denoised", "seed": 7}
GUIDANCE = {"strength": 0.2, "percentile": 0.0, "samples": 2, "start_percent": 0.0, "end_percent": 1.0}
GUIDANCE |= {"mode": "forward", "units": "relative", "preset": "measured"}
ESTIMATE = {"samples": 2, "start_percent": 0.8, "end_percent": 0.95, "levels": 2, "quantity": "denoised", "seed": 7}
NUMBERS = count()
SAMPLING = {"seed": 1, "steps": 4, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}


def record(s: Scene, **options: Any) -> tuple[Scene, Node]:
    """The scene with a watched model, and the node for its second output, the record."""
    node = s.graph.node("UQ_RecordUncertainty", model=s.model, **RECORD | options)
    return s.having(model=node), node


def guidance(s: Scene, **options: Any) -> tuple[Scene, Node]:
    """The scene with a guided model, and the node for its second output, the record."""
    node = s.graph.node("UQ_UncertaintyGuidance", model=s.model, **GUIDANCE | options)
    return s.having(model=node), node


def guided_sampler(s: Scene, **options: Any) -> Node:
    wires = {"model": s.model, "positive": s.positive, "negative": s.negative, "latent_image": s.latent}
    return s.graph.node("UQ_UncertaintyGuidedSampler", **wires, **SAMPLING | GUIDANCE | options)


def estimator(s: Scene, latent: Any, **options: Any) -> Node:
    return s.graph.node("UQ_UncertaintyEstimator", model=s.model, positive=s.positive, latent=latent, **ESTIMATE | options)


def advanced(s: Scene, guider: Any, sampler: str = "euler_ancestral", steps: int = 4) -> Node:
    """SamplerCustomAdvanced."""
    g = s.graph
    noise, chosen = g.node("RandomNoise", noise_seed=1), g.node("KSamplerSelect", sampler_name=sampler)
    sigmas = g.node("BasicScheduler", model=s.model, scheduler="simple", steps=steps, denoise=1.0)
    return g.node("SamplerCustomAdvanced", noise=noise, guider=guider, sampler=chosen, sigmas=sigmas, latent_image=s.latent)


def save(s: Scene, latent: Any, name: str = "latent") -> Node:
    """Under a new name each time: what a cached node has saved is not in the history."""
    return s.graph.node("UQTest_SaveLatent", latent=latent, name=f"{name}_{next(NUMBERS)}")


def save_uncertainty(s: Scene, uncertainty: Any) -> Node:
    return s.graph.node("UQTest_SaveUncertainty", uncertainty=uncertainty)


def read(s: Scene, latent: Any, patch: Node) -> Node:
    """What the patch recorded, saved."""
    return save_uncertainty(s, s.graph.node("UQ_ReadUncertainty", latent=latent, record=patch[1])[1])


def panels_of_results(s: Scene, result: Node, keep: float) -> list[Node]:
    """Nodes that show a result of Read Uncertainty: filter, heatmap and report; what follows them is drawn too."""
    kept = s.graph.node("UQ_SampleFilter", uncertainty=result[1], rule="keep_best_count", value=keep)
    heat = s.graph.node("UQ_Heatmap", uncertainty=result[1], opacity=0.5, colormap="inferno", percentile=90.0)
    report = s.graph.node("UQ_Report", uncertainty=result[1], accepted_indexes=kept[6])
    s.graph.node("UQTest_SaveValue", value=heat[0])
    return [kept, heat, report]


def samples(comfy: Server, history: History, node: Node) -> Tensor:
    return comfy.latent(history, node)["samples"]


def uncertainty(comfy: Server, history: History, node: Node) -> dict[str, Any]:
    """Of a SaveUncertainty; finite and positive in any case."""
    found = comfy.value(history, node)[0]
    assert found["finite"] and found["positive"] and min(found["scores"]) > 0
    return found
