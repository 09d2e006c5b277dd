"""diffusers host: networks that are only passed through for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers import DiffusionPipeline
from torch import nn


@contextmanager
def gradients_off(*networks: nn.Module) -> Iterator[None]:
    """In eval mode and without gradients of their own, inside the block; as they were on every exit."""
    modes = {module: module.training for network in networks for module in network.modules()}
    needs = {parameter: parameter.requires_grad for network in networks for parameter in network.parameters()}
    try:
        for network in networks:
            network.eval().requires_grad_(False)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, need in needs.items():
            parameter.requires_grad_(need)


def networks_of(pipe: DiffusionPipeline) -> list[nn.Module]:
    """A pipeline's networks."""
    return [part for part in pipe.components.values() if isinstance(part, nn.Module)]
