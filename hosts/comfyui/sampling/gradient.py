"""ComfyUI host: gradients through a network whose weights were loaded under inference mode, in which every prompt runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor, nn
from torch.autograd.graph import allow_mutation_on_saved_tensors
from torch.overrides import TorchFunctionMode

from ....core.denoiser import Process
from ....core.guidance.gradient_check import check_trial, trial_gradient
from ....core.guidance.inference_weights import aliased, normal
from ....core.options import GuidanceOptions
from ..model import Conditioned, controls_of


@contextmanager
def differentiable(conditioned: Conditioned) -> Iterator[Conditioned]:
    """The same denoiser, differentiable within the block. No memory is needed for it, and no weight changes.

    Raises RuntimeError for weights that can't be aliased, as quantised ones.
    """
    controls = controls_of([conditioned.cond])
    networks = [conditioned.model, *(value for control in controls for value in vars(control).values() if isinstance(value, nn.Module))]
    # Flux writes in place
    with aliased(networks), PlainKernels(), allow_mutation_on_saved_tensors():
        yield replace(conditioned, cond=normal(conditioned.cond), options=with_plain_attention(conditioned.options))


def with_plain_attention(options: dict[str, Any]) -> dict[str, Any]:
    """A copy of a run's model_options in which torch's own attention is used: faster ones detach parts of the graph, silently."""

    def override(func: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        return attention_pytorch(*args, **kwargs)

    return {**options, "transformer_options": {**options.get("transformer_options", {}), "optimized_attention_override": override}}


class PlainKernels(TorchFunctionMode):
    """Runs the fused kernels of comfy_kitchen, which have no derivative, as the plain torch functions that it also has."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        space, _, name = getattr(func, "_qualified_op_name", "").partition("::")
        if space == "comfy_kitchen":
            func = getattr(sys.modules["comfy_kitchen"].backends.eager, name, func)
        return func(*args, **(kwargs or {}))


def check_gradient(conditioned: Conditioned, own: Tensor, sigma: Tensor, process: Process, options: GuidanceOptions) -> None:
    """Raises RuntimeError when autograd fails on this model, or gives what the model does not do."""
    with differentiable(conditioned) as smooth:
        gradient = trial_gradient(smooth, own, sigma, process, options)
    check_trial(conditioned, gradient, own, sigma, process, options)
