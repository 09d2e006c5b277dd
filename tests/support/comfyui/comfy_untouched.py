"""Whether a run has left anything behind: a plain one before it and a plain one after it must agree in everything."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from comfy_scenes import ksampler, scene
from comfy_server import Server
from comfy_uncertainty import samples, save


def plain_run(comfy: Server, salt: int) -> tuple[Tensor, Any, Any]:
    """Latent, random state and model state of a run without our nodes."""
    s = scene("flow", batch=2, tokens=(7, 7), salt=salt)
    drawn = ksampler(s)
    saved = save(s, drawn)
    random = s.graph.node("UQTest_RandomState", after=drawn)
    model = s.graph.node("UQTest_ModelState", model=s.model, after=drawn)
    history = comfy.run(s.graph)
    return samples(comfy, history, saved), comfy.value(history, random), comfy.value(history, model)


def check_untouched(comfy: Server, untouched: tuple[Tensor, Any, Any], salt: int) -> None:
    latent, random, model = plain_run(comfy, salt)
    assert torch.equal(latent, untouched[0])
    assert random == untouched[1]
    assert model == untouched[2]
