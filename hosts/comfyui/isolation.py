"""ComfyUI host: further evaluations neither see nor change what other people's patches keep from call to call.

Three measures, none of which knows a pack by name. *Path* below is what a run's model_options bring into one evaluation.

1. What a patch keeps (in closures, attributes and transformer_options) and the random states are put back after each evaluation.
2. A wrapper that keeps tensors of the sampler's own evaluations is a cache. It is left out when the model says without it what it
   said with it at the first evaluation, where there was nothing to reuse; else it is refused.
3. What keeps its state elsewhere is found by asking twice: with anything of others on the path, each run asks its first measured
   step twice, at the price of 2 evaluations an image (and 1 more for each run with a cache). Answers that differ are refused.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor, nn

log = logging.getLogger(__name__)
Options = dict[str, Any]
States = list[tuple[Any, Any]]  # what holds something, and what it held
Evaluate = Callable[[Options], Tensor]
PACK = __name__.rpartition(".hosts.")[0]
PATH_WRAPPERS = (WrappersMP.CALC_COND_BATCH, WrappersMP.APPLY_MODEL, WrappersMP.DIFFUSION_MODEL)
ALTERED = 0.05  # of what the model says: more than the rounding of half precision, less than any other patch does
FOREIGN_TO_WALK = ("torch", "numpy", "comfy", "comfy_kitchen", *sys.stdlib_module_names)


@dataclass
class Isolation:
    """Of one sampling run: what its patches kept when it began, and which of them are caches."""

    tensors_before: dict[int, Tensor]
    caches: list[Callable[..., Any]] | None = None
    asked_twice: bool = field(default=False)

    @classmethod
    def begin(cls, options: Options, network: nn.Module) -> Isolation:
        kept = [tensor for wrapper in wrappers_of(options) for tensor in tensors_of(memory_of(wrapper, options, network))]
        return cls({id(tensor): tensor for tensor in kept})

    def find_caches(self, options: Options, network: nn.Module, said: Tensor, evaluate: Evaluate) -> None:
        """At a run's first evaluation, with what the model ``said`` there. Raises ValueError for a cache that can't be left out."""
        if self.caches is not None:
            return
        self.caches = [wrapper for wrapper in wrappers_of(options) if self.has_new_tensors(wrapper, options, network)]
        self.tensors_before.clear()
        if not self.caches:
            return
        names = " and ".join(dict.fromkeys(name_of(wrapper) for wrapper in self.caches))
        if is_other(said, evaluate(self.without_caches(options))):
            self.caches = None
            raise ValueError(
                f"{names} keeps results from one model call to the next and changes what the model predicts, so that nothing can be "
                "measured beside it. Take that patch out of the model's path, or measure another model."
            )
        log.info("Uncertainty: measured without %s, which reuses results from one model call to the next.", names)

    def has_new_tensors(self, wrapper: Callable[..., Any], options: Options, network: nn.Module) -> bool:
        return any(id(tensor) not in self.tensors_before for tensor in tensors_of(memory_of(wrapper, options, network)))

    def without_caches(self, options: Options) -> Options:
        return without(options, self.caches or [])

    def ask_twice(self, options: Options, evaluate: Evaluate) -> None:
        """Raises ValueError, naming the patch, where the same question gets two answers. Only once a run, and only with others' patches."""
        if self.asked_twice:
            return
        self.asked_twice = True
        patches = list(callables_of(path(options)))
        if not patches or repeats(options, evaluate):
            return
        if not repeats(without(options, patches), evaluate):  # the network itself, as with some kernels of GPUs
            return
        guilty = [patch for patch in patches if repeats(without(options, [patch]), evaluate)] or patches
        names = " and ".join(dict.fromkeys(name_of(patch) for patch in guilty))
        raise ValueError(
            f"{names} gives two answers to the same question, since it remembers earlier model calls, so that nothing can be measured "
            "beside it. Take that patch out of the model's path, or measure another model."
        )


@contextmanager
def kept_apart(options: Options, device: torch.device) -> Iterator[None]:
    """In the block patches may remember and draw what they like; at its end all is as it was."""
    states = states_of(options)
    others = [] if device.type in ("cpu", "meta") else [device]
    try:
        with torch.random.fork_rng(others, device_type=device.type if others else "cuda"):
            yield
    finally:
        put_states_back(states)


def states_of(options: Options) -> States:
    """What patches keep at this moment."""
    return [(holder, content_of(holder)) for holder in walk([path(options)]) if content_of(holder) is not None]


def put_states_back(states: States) -> None:
    for holder, content in states:
        put_back(holder, content)


def path(options: Options) -> Options:
    """The part of model_options that acts within an evaluation, without what is ours."""
    inner = dict(options.get("transformer_options", {}))
    inner["wrappers"] = {kind: each for kind, each in inner.get("wrappers", {}).items() if kind in PATH_WRAPPERS}
    inner.pop("callbacks", None)
    wrapper = options.get("model_function_wrapper")
    return {"transformer_options": inner} | ({} if wrapper is None else {"model_function_wrapper": wrapper})


def wrappers_of(options: Options) -> list[Callable[..., Any]]:
    """What stands around the network and may answer in its place."""
    kinds = path(options)["transformer_options"]["wrappers"]
    found = [wrapper for by_key in kinds.values() for each in by_key.values() for wrapper in each]
    return found + ([options["model_function_wrapper"]] if options.get("model_function_wrapper") else [])


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
    elif callable(value) and not isinstance(value, type) and not is_ours(value):
        yield value


def memory_of(wrapper: Callable[..., Any], options: Options, network: nn.Module) -> list[Any]:
    """What a wrapper may keep things in: itself, and the values of transformer_options and of the network that its code names."""
    places = {**vars(network), **options.get("transformer_options", {})}
    named = [places[name] for name in names_in(wrapper) if name in places and not name.startswith("_")]
    return [wrapper, *(value for value in named if not callable(value) and value is not places.get("wrappers"))]


def names_in(wrapper: Callable[..., Any]) -> set[str]:
    codes, names = [getattr(part, "__code__", None) for part in (wrapper, type(wrapper).__call__)], set()
    while codes:
        code = codes.pop()
        if code is not None:
            names |= set(code.co_names) | {const for const in code.co_consts if isinstance(const, str)}
            codes += [const for const in code.co_consts if hasattr(const, "co_consts")]
    return names


def walk(roots: list[Any]) -> Iterator[Any]:
    """Everything that is reachable from roots and belongs to patches of others: containers, objects, cells, tensors, generators."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        value = waiting.pop()
        if id(value) in seen or is_ours(value):
            continue
        seen.add(id(value))
        parts = parts_of(value)
        if parts is not None:
            yield value
            waiting += parts


def parts_of(value: Any) -> list[Any] | None:
    """None for what isn't looked into: numbers, texts, classes, models, and the objects of torch, ComfyUI and the standard library."""
    if isinstance(value, (Tensor, torch.Generator)):
        return []
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (list, tuple, set)):
        return list(value)
    if isinstance(value, CellType):
        try:
            return [value.cell_contents]
        except ValueError:  # still empty
            return []
    if isinstance(value, FunctionType):
        return [*(value.__closure__ or ()), vars(value)]
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    kind = type(value)
    if isinstance(value, (type, nn.Module)) or not hasattr(value, "__dict__") or kind.__module__.split(".")[0] in FOREIGN_TO_WALK:
        return None
    return [vars(value)]


def tensors_of(roots: list[Any]) -> list[Tensor]:
    return [value for value in walk(roots) if isinstance(value, Tensor)]


def content_of(holder: Any) -> Any:
    """What ``put_back`` needs; None for what holds nothing of its own."""
    if isinstance(holder, torch.Generator):
        return holder.get_state()
    if isinstance(holder, CellType):
        try:
            return (holder.cell_contents,)
        except ValueError:
            return ()
    return holder.copy() if type(holder) in (dict, list, set) else None


def put_back(holder: Any, content: Any) -> None:
    if isinstance(holder, torch.Generator):
        holder.set_state(content)
    elif isinstance(holder, CellType):
        if content:
            holder.cell_contents = content[0]
        else:
            del holder.cell_contents
    elif isinstance(holder, list):
        holder[:] = content
    else:
        holder.clear()
        holder.update(content)


def is_ours(value: Any) -> bool:
    where = getattr(value, "__module__", None) or type(value).__module__
    return isinstance(where, str) and (where == PACK or where.startswith(PACK + "."))


def is_other(one: Tensor, other: Tensor) -> bool:
    """Whether two predictions differ by more than rounding, in images that did not fail."""
    whole = (one.isfinite() & other.isfinite()).flatten(1).all(dim=1)
    one, other = one[whole].float(), other[whole].float()
    return bool((one - other).norm() > ALTERED * one.norm())


def repeats(options: Options, evaluate: Evaluate) -> bool:
    return torch.equal(torch.nan_to_num(evaluate(options)), torch.nan_to_num(evaluate(options)))


def name_of(patch: Callable[..., Any]) -> str:
    """Module and name, as a person finds it among the custom nodes."""
    while isinstance(patch, functools.partial):
        patch = patch.func
    named = patch if hasattr(patch, "__qualname__") else type(patch)
    return f"{named.__module__.rpartition('custom_nodes.')[2]}.{named.__qualname__.replace('.<locals>', '')}"
