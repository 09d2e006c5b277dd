"""Ensembles in the scenes of comfy_scenes, with every input at its default unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save as serialise
from torch import Tensor

from comfy_client import History
from comfy_graph import Node
from comfy_scenes import Scene, ksampler, scene
from comfy_server import Server
from comfy_uncertainty import SAMPLING, samples, save

BRANCH = {"branch_percent": 0.5, "distance": "w2", "bandwidth": 0.0, "moment": "last"}
FILES = {"members": "", "strength": 1.0, "prompt": ""}


def ensemble(s: Scene, *conditions: Any, **files: Any) -> Node:
    wires = {f"conditioning_{i}": condition for i, condition in enumerate(conditions, 1)}
    return s.graph.node("UQ_EnsembleLoRAEmbedding", model=s.model, **wires, **FILES | files)


def sampled(s: Scene, members: Any, positive: Node | None = None, **options: Any) -> Node:
    wires = {"ensemble": members, "negative": s.negative, "latent_image": s.latent, "positive": positive}
    return s.graph.node("UQ_EnsembleUncertainty", **wires, **SAMPLING | BRANCH | options)


def found(comfy: Server, history: History, node: Node) -> dict[str, Any]:
    """Of a SaveUncertainty."""
    return comfy.value(history, node)[0]


def plain_state(comfy: Server, salt: int) -> Any:
    """Latent and state of the model after a run without our nodes."""
    s = scene("flow", batch=2, tokens=(7, 7), salt=salt)
    drawn = ksampler(s)
    saved, model = save(s, drawn), s.graph.node("UQTest_ModelState", model=s.model, after=drawn)
    history = comfy.run(s.graph)
    state = comfy.value(history, model)[0]
    # ComfyUI puts a weight that a LoRA was on back as a new Parameter, with any LoRA of its own too
    return samples(comfy, history, saved).tolist(), {k: v for k, v in state.items() if k not in ("objects", "requires_grad")}


def write_member(comfy: Server, path: str, tensors: Mapping[str, Tensor] | bytes) -> str:
    """Of the folder and the name ``path`` below models: tensors as safetensors, or any bytes at all. Its name."""
    file = comfy.base / "models" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(tensors if isinstance(tensors, bytes) else serialise(tensors))
    return path.split("/", 1)[1]


def load_latents(comfy: Server, s: Scene, name: str, latents: Tensor) -> Node:
    """The stock Load Latent of a file that is written here: latents with any values."""
    tensors = {"latent_tensor": latents.contiguous(), "latent_format_version_0": torch.zeros(0)}
    (comfy.base / "input").mkdir(exist_ok=True)
    (comfy.base / "input" / f"{name}.latent").write_bytes(serialise(tensors))
    return s.graph.node("LoadLatent", latent=f"{name}.latent")
