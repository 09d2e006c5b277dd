"""Gradients through a network whose weights were loaded under inference mode, where autograd refuses to save what is made.

For the time of a gradient each weight is replaced by an alias: a normal tensor on the same memory. The old objects come back at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def aliased(networks: Sequence[nn.Module]) -> Iterator[None]:
    """No memory is needed for it, and no weight changes. Raises RuntimeError for weights that can't be aliased, as quantised ones."""
    with ExitStack() as undo:
        aliases: dict[int, Tensor] = {}
        for module in (module for network in networks for module in network.modules()):
            for tensors in (module._parameters, module._buffers):
                swap(tensors, aliases, undo)
        yield


def swap(tensors: dict[str, Any], aliases: dict[int, Tensor], undo: ExitStack) -> None:
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
    if hasattr(value, "_copy_with") and hasattr(value, "cond"):  # ComfyUI's and Forge's conditions
        return value._copy_with(normal(value.cond))
    return value
