"""What Python functions and objects keep from call to call, and how to put it back.

Looked into: containers, the attributes of objects, of functions and of networks (not of their layers), what closures enclose, and the
globals that functions name. Not: the objects of torch, numpy, the standard library and the host, classes, and tensors changed in place.
Which modules are the host's, each host says itself.
"""

from __future__ import annotations

import dis
import functools
import random
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PACK = __name__.rpartition(".core.")[0]
LIBRARIES = frozenset({"torch", "numpy", *sys.stdlib_module_names} - {"__main__"})
Names = frozenset[str]  # of modules at the top


@dataclass(frozen=True)
class Memory:
    """contents: of every holder, what it holds. tensors: all that there are, by id."""

    contents: list[tuple[Any, Any]]
    tensors: dict[int, Tensor]

    @classmethod
    def of(cls, roots: list[Any], host: Names = frozenset()) -> Memory:
        """Of all within reach of some objects. host: the names of the modules whose objects are not looked into."""
        foreign = LIBRARIES | host
        found = list(walk(roots, foreign))
        contents = [(holder, content_of(holder, foreign)) for holder in found]
        return cls([each for each in contents if each[1] is not None], {id(value): value for value in found if isinstance(value, Tensor)})

    def put_back(self) -> None:
        for holder, content in self.contents:
            put_back(holder, content)


@contextmanager
def restoring(now: Memory, device: torch.device, start: Memory | None = None) -> Iterator[None]:
    """In the block patches may remember and draw what they like; at its end they are as in ``now``, and the random states as before.

    start: what they kept before the first step of a run. Where they have kept tensors since, from which they may answer as caches do,
    the block begins with that.
    """
    others = [] if device.type in ("cpu", "meta") else [device]
    python, legacy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(others, device_type=device.type if others else "cuda"):
            if start is not None and now.tensors.keys() - start.tensors.keys():
                start.put_back()
            yield
    finally:
        now.put_back()
        random.setstate(python)
        np.random.set_state(legacy)


def walk(roots: list[Any], foreign: Names) -> Iterator[Any]:
    """Everything within reach, once."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        value = waiting.pop()
        if id(value) in seen or is_ours(value):
            continue
        seen.add(id(value))
        parts = parts_of(value, foreign)
        if parts is not None:
            yield value
            waiting += parts


def parts_of(value: Any, foreign: Names) -> list[Any] | None:
    """None for what isn't looked into."""
    if isinstance(value, (Tensor, torch.Generator)):
        return []
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (list, tuple, set, deque)):
        return list(value)
    if isinstance(value, CellType):
        return list(cell_content(value))
    if isinstance(value, FunctionType):
        named = [] if is_within(value.__module__, foreign) else [value.__globals__.get(name) for name in names_in(value.__code__)[0]]
        return [*(value.__closure__ or ()), vars(value), *named]
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, nn.Module):
        return list(public(value).values())
    kind = type(value)
    if isinstance(value, type) or not hasattr(value, "__dict__") or is_within(kind.__module__, foreign):
        return None
    return [vars(value), *([kind.__call__] if callable(value) else [])]


def content_of(holder: Any, foreign: Names) -> Any:
    """What ``put_back`` needs; None for what holds nothing of its own."""
    if isinstance(holder, torch.Generator):
        return holder.get_state()
    if isinstance(holder, CellType):
        return cell_content(holder)
    if isinstance(holder, nn.Module):
        return public(holder)
    if isinstance(holder, FunctionType):
        stored = () if is_within(holder.__module__, foreign) else names_in(holder.__code__)[1]
        return {name: holder.__globals__[name] for name in stored if name in holder.__globals__} if stored else None
    return holder.copy() if isinstance(holder, (dict, list, set, deque)) else None


def put_back(holder: Any, content: Any) -> None:
    if isinstance(holder, torch.Generator):
        holder.set_state(content)
    elif isinstance(holder, CellType):
        if content:
            holder.cell_contents = content[0]
        else:
            del holder.cell_contents
    elif isinstance(holder, nn.Module):
        exchange(vars(holder), public(holder), content)
    elif isinstance(holder, FunctionType):
        exchange(holder.__globals__, names_in(holder.__code__)[1], content)
    else:
        holder.clear()
        (holder.extend if isinstance(holder, (list, deque)) else holder.update)(content)


def exchange(values: dict[str, Any], names: Any, content: dict[str, Any]) -> None:
    """Of these names, in a dict that others use too."""
    for name in set(names) - content.keys():
        values.pop(name, None)
    values.update(content)


def public(network: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(network).items() if not name.startswith("_")}


def cell_content(cell: CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # still empty
        return ()


@functools.lru_cache(4096)
def names_in(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The globals that a function, and those within it, may read; and those that they set."""
    read, stored = set(code.co_names), {str(each.argval) for each in dis.get_instructions(code) if each.opname == "STORE_GLOBAL"}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            more = names_in(inner)
            read, stored = read | more[0], stored | more[1]
    return frozenset(read), frozenset(stored)


def is_within(module: str | None, names: Names) -> bool:
    return (module or "").partition(".")[0] in names


def is_ours(value: Any) -> bool:
    where = getattr(value, "__module__", None) or type(value).__module__
    return isinstance(where, str) and (where == PACK or where.startswith(PACK + "."))
