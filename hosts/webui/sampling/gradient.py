"""WebUI host: gradients through Forge's model, whose weights were loaded under inference mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor, nn
from torch.autograd.graph import allow_mutation_on_saved_tensors

from ....core.denoiser import Process
from ....core.guidance.gradient_check import check_trial, trial_gradient
from ....core.guidance.inference_weights import aliased, normal
from ....core.options import GuidanceOptions
from .model import CompiledDenoiser


@contextmanager
def differentiable(denoise: CompiledDenoiser) -> Iterator[CompiledDenoiser]:
    """The same denoiser, differentiable within the block. Raises RuntimeError for weights that can't be aliased."""
    networks = [denoise.model]
    for part in denoise.cond:
        control = part.get("control")
        while control is not None:
            networks += [value for value in vars(control).values() if isinstance(value, nn.Module)]
            control = control.previous_controlnet
    with aliased(networks), allow_mutation_on_saved_tensors():
        yield replace(denoise, cond=normal(denoise.cond))


def check_gradient(denoise: CompiledDenoiser, own: Tensor, sigma: Tensor, process: Process, options: GuidanceOptions) -> None:
    """Raises RuntimeError when autograd fails on this model, or gives what the model does not do. 6 evaluations per image."""
    with differentiable(denoise) as smooth:
        gradient = trial_gradient(smooth, own, sigma, process, options)
    check_trial(denoise, gradient, own, sigma, process, options)
