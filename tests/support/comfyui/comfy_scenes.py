"""Ready-made graphs: one scene a model family, with tiny random models, no text encoder and no download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import tiny_checkpoints as tiny
from comfy_graph import Graph, Node


@dataclass(frozen=True)
class Family:
    """How a model is loaded and what it wants: latent channels, width of the text, of the pooled text, frames (0: images)."""

    load: Callable[[Graph], Node]
    channels: int
    width: int
    pooled: int = 0
    frames: int = 0


def unet(name: str) -> Callable[[Graph], Node]:
    return lambda g: g.node("UNETLoader", unet_name=name, weight_dtype="default")


def v_prediction(g: Graph) -> Node:
    return g.node("ModelSamplingDiscrete", model=unet(tiny.SD15)(g), sampling="v_prediction", zsnr=False)


def edm(g: Graph) -> Node:
    return g.node("ModelSamplingContinuousEDM", model=unet(tiny.SD15)(g), sampling="edm", sigma_max=80.0, sigma_min=0.002)


FAMILIES = {
    "eps": Family(unet(tiny.SD15), channels=4, width=768),
    "v": Family(v_prediction, channels=4, width=768),
    "edm": Family(edm, channels=4, width=768),
    "flow": Family(unet(tiny.SD3), channels=16, width=4096, pooled=2048),
    "flux": Family(lambda g: g.node("UQTest_TinyFlux", seed=1), channels=16, width=64, pooled=32),
    "video": Family(unet(tiny.WAN), channels=16, width=4096, frames=2),
}


@dataclass(frozen=True)
class Scene:
    """The four things a sampler is wired to. ``scene.having(model=...)`` swaps one."""

    graph: Graph
    model: Node
    positive: Node
    negative: Node
    latent: Node

    def having(self, **changes: Node) -> Scene:
        return replace(self, **changes)


def text(g: Graph, family: str, seed: int, tokens: int = 7) -> Node:
    """CONDITIONING in this family's sizes."""
    f = FAMILIES[family]
    return g.node("UQTest_Conditioning", seed=seed, tokens=tokens, width=f.width, pooled=f.pooled, batch=1)


def scene(family: str, batch: int = 1, size: int = 8, tokens: tuple[int, int] = (7, 5), salt: int = 0, scale: float = 0.0) -> Scene:
    """A fresh graph.

    size: of the latent, in latent pixels. tokens: lengths of the positive and the negative prompt.
    salt: another value makes the sampler run again although nothing else changed. scale: of a random latent; 0 is the empty one.
    """
    g, f = Graph(), FAMILIES[family]
    shape = {"batch": batch, "channels": f.channels, "frames": f.frames, "height": size, "width": size}
    latent = g.node("UQTest_RandomLatent", seed=0, scale=scale, salt=salt, **shape)
    return Scene(g, f.load(g), text(g, family, 1, tokens[0]), text(g, family, 2, tokens[1]), latent)


def ksampler(s: Scene, sampler: str = "euler", steps: int = 4, cfg: float = 4.0, seed: int = 1, denoise: float = 1.0) -> Node:
    """The stock KSampler on a scene."""
    wires = {"model": s.model, "positive": s.positive, "negative": s.negative, "latent_image": s.latent}
    return s.graph.node("KSampler", **wires, seed=seed, steps=steps, cfg=cfg, sampler_name=sampler, scheduler="normal", denoise=denoise)
