"""What Python functions and objects keep from call to call, and how to put it back.

Looked into: containers, the attributes of objects, of functions and of networks (not of their layers), what closures enclose, and the
globals that functions name. Not: the objects of torch, of a host and of the standard library, classes, and tensors changed in place.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

PACK = __name__.rpartition(".core.")[0]
COMFYUI = ("comfy", "comfy_api", "comfy_execution", "comfy_kitchen", "app", "execution", "folder_paths", "nodes", "server")
FORGE = (
    ("backend", "modules", "modules_forge", "k_diffusion", "gradio") if "modules.scripts" in sys.modules else ()
)  # common names elsewhere
FOREIGN = frozenset({"torch", "numpy", *COMFYUI, *FORGE, *sys.stdlib_module_names} - {"__main__"})


@dataclass(frozen=True)
class Memory:
    """contents: of every holder, what it holds. tensors: all that there are, by id."""

    contents: list[tuple[Any, Any]]
    tensors: dict[int, Tensor]

    @classmethod
    def of(cls, roots: list[Any]) -> Memory:
        found = list(walk(roots))
        contents = [(holder, content_of(holder)) for holder in found]
        return cls([each for each in contents if each[1] is not None], {id(value): value for value in found if isinstance(value, Tensor)})

    def put_back(self) -> None:
        for holder, content in self.contents:
            put_back(holder, content)


def walk(roots: list[Any]) -> Iterator[Any]:
    """Everything within reach, once."""
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
        named = [] if is_foreign(value.__module__) else [value.__globals__.get(name) for name in names_in(value.__code__)[0]]
        return [*(value.__closure__ or ()), vars(value), *named]
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, nn.Module):
        return list(public(value).values())
    kind = type(value)
    if isinstance(value, type) or not hasattr(value, "__dict__") or is_foreign(kind.__module__):
        return None
    return [vars(value), *([kind.__call__] if callable(value) else [])]


def content_of(holder: Any) -> Any:
    """What ``put_back`` needs; None for what holds nothing of its own."""
    if isinstance(holder, torch.Generator):
        return holder.get_state()
    if isinstance(holder, CellType):
        return cell_content(holder)
    if isinstance(holder, nn.Module):
        return public(holder)
    if isinstance(holder, FunctionType):
        stored = () if is_foreign(holder.__module__) else names_in(holder.__code__)[1]
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


def is_foreign(module: str | None) -> bool:
    return (module or "").partition(".")[0] in FOREIGN


def is_ours(value: Any) -> bool:
    where = getattr(value, "__module__", None) or type(value).__module__
    return isinstance(where, str) and (where == PACK or where.startswith(PACK + "."))
