"""ComfyUI host: gradients through a network whose weights were loaded under inference mode.

ComfyUI runs every prompt in inference mode, and autograd refuses to save the tensors that are made there. For the time of a
gradient each weight is therefore replaced by an alias: a normal tensor on the same memory. The old objects come back at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor, nn
from torch.autograd.graph import allow_mutation_on_saved_tensors
from torch.overrides import TorchFunctionMode

from ....core.denoiser import Process
from ....core.draws import noise
from ....core.guidance.gradient_check import gradient_mismatch
from ....core.guidance.step import autograd_gradient
from ....core.options import HALF_STEP_SIZE, GuidanceOptions
from ..model import Conditioned, controls_of

MOST_MISMATCH = 0.1  # of a slope; a graph that is cut in a few places is off by more
MOST_MISMATCH_IN_HALF = 0.3


@contextmanager
def differentiable(conditioned: Conditioned) -> Iterator[Conditioned]:
    """The same denoiser, differentiable within the block. No memory is needed for it, and no weight changes.

    Raises RuntimeError for weights that can't be aliased, as quantised ones.
    """
    controls = controls_of([conditioned.cond])
    networks = [conditioned.model, *(value for control in controls for value in vars(control).values() if isinstance(value, nn.Module))]
    with ExitStack() as undo:
        aliases: dict[int, Tensor] = {}
        for module in (module for network in networks for module in network.modules()):
            for tensors in (module._parameters, module._buffers):
                swap(tensors, aliases, undo)
        undo.enter_context(PlainKernels())
        undo.enter_context(allow_mutation_on_saved_tensors())  # Flux writes in place
        yield replace(conditioned, cond=normal(conditioned.cond), options=with_plain_attention(conditioned.options))


def swap(tensors: dict[str, Tensor | None], aliases: dict[int, Tensor], undo: ExitStack) -> None:
    """Replace the inference tensors of a module's dict by aliases, one for each object however often it is shared."""
    for name, tensor in list(tensors.items()):
        if tensor is None or not tensor.is_inference():
            continue
        if id(tensor) not in aliases:
            aliases[id(tensor)] = alias(tensor)
        undo.callback(tensors.__setitem__, name, tensor)
        tensors[name] = aliases[id(tensor)]


def alias(tensor: Tensor) -> Tensor:
    """A normal tensor on the memory of an inference tensor; a Parameter stays one, without a gradient of its own."""
    if type(tensor) not in (Tensor, nn.Parameter) or type(tensor.data) is not Tensor:
        raise RuntimeError(f"no gradient goes through weights of the kind {type(tensor.data).__name__}")
    with torch.inference_mode(False):
        twin = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        twin.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
        if isinstance(tensor, nn.Parameter):
            twin = nn.Parameter(twin, requires_grad=False)
        twin.__dict__.update(tensor.__dict__)
    return twin


def normal(value: Any) -> Any:
    """A conditioning whose inference tensors are cloned; what else it holds is shared."""
    if isinstance(value, Tensor):
        with torch.inference_mode(False):
            return value.clone() if value.is_inference() else value
    if isinstance(value, dict):
        return {name: normal(v) for name, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(normal(v) for v in value)
    if hasattr(value, "_copy_with") and hasattr(value, "cond"):  # comfy.conds
        return value._copy_with(normal(value.cond))
    return value


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
    """Compare the gradient with one finite difference of the untouched model, over two draws: 6 evaluations per image.

    Raises RuntimeError when autograd fails, or gives what the model does not do.
    """
    draws = replace(options.draws, samples=2, micro_batch=1)
    z = noise(draws, 0, own)
    with differentiable(conditioned) as smooth:
        g, _ = autograd_gradient(smooth, own, sigma, process, z, replace(options, draws=draws))
    mismatch = gradient_mismatch(conditioned, own.float(), g, sigma, process, z, options.step_size)
    most = MOST_MISMATCH_IN_HALF if options.step_size >= HALF_STEP_SIZE else MOST_MISMATCH
    if not mismatch <= most:  # NaN too
        raise RuntimeError(f"its gradient is {mismatch:.0%} off what a finite difference shows")
