"""The bundled model, drawn from in a few steps, for the tests of the diffusers host."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor

from uncertainty_nodes.core.options import AleatoricOptions, DrawOptions, GuidanceMode, GuidanceOptions, StepWindow
from uncertainty_nodes.hosts.diffusers.demo import sample, starting_noise

STEPS = 5
TWO = DrawOptions(samples=2)
LATE = StepWindow(0.4, 1.0)
RECORD = AleatoricOptions(draws=TWO, window=LATE)
GUIDE = GuidanceOptions(draws=TWO, window=LATE, mode=GuidanceMode.FORWARD)


def draw(network: UNet2DModel, scheduler: Any, images: int = 3, watch: Any = None, **more: Any) -> Tensor:
    """Images 0, 1, 2, ... of classes 0, 1, 2, ...; the same noises in every call."""
    options = {"labels": torch.arange(images), "steps": STEPS, "generator": torch.Generator().manual_seed(0), "watch": watch} | more
    return sample(network, scheduler, starting_noise(images, 0), **options)
