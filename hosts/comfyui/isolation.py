"""ComfyUI host: further evaluations neither see nor change what other people's patches keep from call to call.

No pack is known by name. *Patches* are what a run's options and model bring into one evaluation.

1. What patches keep, as far as ``memory`` finds it, and the random states are put back after each of our evaluations.
2. Patches that have kept tensors of the sampler's evaluations may answer from them, as caches do. During our evaluations they are
   as they were when the run began, with nothing to reuse.
3. What is kept out of sight is found by asking the same again, once a run and only beside others' patches, and refused.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from comfy.model_base import BaseModel
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ...core.draws import is_out_of_memory
from ...core.guidance.patch_memory import Memory, is_ours, restoring

Options = dict[str, Any]
Evaluate = Callable[[Options], Tensor]
MODULES = frozenset(
    {"comfy", "comfy_api", "comfy_execution", "comfy_kitchen", "app", "execution", "folder_paths", "nodes", "server"}
)  # ComfyUI's own, whose objects are no patches
PATH_WRAPPERS = (WrappersMP.CALC_COND_BATCH, WrappersMP.APPLY_MODEL, WrappersMP.DIFFUSION_MODEL)
ALTERED = 0.01  # of what the model says: more than the order of additions changes on a GPU
ASKED = 3  # a cache that had to start anew at the first question, and whose turn it is to do so at the second, gives itself away then
SAME_WORK = 0.8  # what is made once and kept, as a mask for a new shape, is a small part of an evaluation


def remember(options: Options, model: BaseModel) -> Memory:
    """What patches keep now."""
    patcher = getattr(model, "current_patcher", None)
    memory = Memory.of([path(options), model.diffusion_model, getattr(patcher, "object_patches", {})], MODULES)
    memory.contents.extend((live, dict(live)) for live in (options, options.get("transformer_options", {})))
    return memory


def kept_apart(options: Options, model: BaseModel, device: torch.device, start: Memory | None = None) -> AbstractContextManager[None]:
    """A block in which patches may remember and draw what they like; at its end all is as it was. start: of the run."""
    return restoring(remember(options, model), device, start)


def check_repeats(options: Options, evaluate: Evaluate) -> None:
    """Raises ValueError, naming the patches, where the same question is answered in two ways. Costs 3 evaluations if there are any."""
    patches = defaultdict(list)
    for patch in callables_of(path(options)):
        patches[name_of(patch)].append(patch)
    if not patches or repeats(options, evaluate):
        return
    if not repeats(without(options, sum(patches.values(), [])), evaluate):
        evaluate(options)  # it may be the model itself that fails, with a reason
        return
    guilty = [name for name, group in patches.items() if repeats(without(options, group), evaluate)] or list(patches)
    raise ValueError(
        f"The patch {' or '.join(guilty)} on this model remembers earlier model calls, in a place that nothing else can reach, and "
        "answers from them, so uncertainty can't be measured beside it. Take that patch off the model, or take off this node."
    )


def repeats(options: Options, evaluate: Evaluate) -> bool:
    """Whether a question always gets the same answer by the same work. One that fails gets none."""
    answers, operations = [], []
    try:
        for _ in range(ASKED):
            with Work() as work:
                answers.append(evaluate(options).float())
            operations.append(work.operations)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return False
    whole = torch.stack(answers).isfinite().flatten(2).all(dim=2).all(dim=0)  # failed images tell nothing
    first, *others = (answer[whole] for answer in answers)
    same = all(bool((other - first).norm() <= ALTERED * first.norm()) for other in others)
    return same and min(operations) >= SAME_WORK * max(operations)


class Work(TorchDispatchMode):
    """Counts operations: asked the same again, a cache answers with hardly any."""

    operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        self.operations += 1
        return func(*args, **(kwargs or {}))


def path(options: Options) -> Options:
    """The part of model_options that acts within an evaluation."""
    inner = dict(options.get("transformer_options", {}))
    inner["wrappers"] = {kind: each for kind, each in inner.get("wrappers", {}).items() if kind in PATH_WRAPPERS}
    inner.pop("callbacks", None)
    return {"transformer_options": inner, "wrapper": options.get("model_function_wrapper")}


def uncompiled(options: Options) -> Options:
    """Without ComfyUI's torch.compile: it compiles anew for another number of rows, and then gives the sampler other bits as well."""
    compiled = options.get("transformer_options", {}).get("wrappers", {}).get(WrappersMP.APPLY_MODEL, {}).get(COMPILE_KEY, [])
    return without(options, compiled) if compiled else options


def without(value: Any, patches: list[Callable[..., Any]]) -> Any:
    """A copy of nested options in which these callables are missing. ComfyUI's own dicts are left as they are."""
    if isinstance(value, dict):
        return {name: without(v, patches) for name, v in value.items() if not any(v is patch for patch in patches)}
    if type(value) is list:
        return [without(v, patches) for v in value if not any(v is patch for patch in patches)]
    return value


def callables_of(value: Any) -> Iterator[Callable[..., Any]]:
    """The patches in nested options: functions, and objects that can be called."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from callables_of(part)
    elif callable(value) and not isinstance(value, (type, nn.Module)) and not is_ours(value):
        yield value


def name_of(patch: Callable[..., Any]) -> str:
    """As a person finds it: mostly the node, and the file that it is in."""
    while isinstance(patch, functools.partial):
        patch = patch.func
    named = patch if hasattr(patch, "__qualname__") else type(patch)
    return f"{named.__qualname__.partition('.')[0]} ({re.split(r'custom_nodes[./]', named.__module__)[-1]})"
