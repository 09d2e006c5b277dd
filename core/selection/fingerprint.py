"""Which model scores come from: a cheap hash of some of its weights, the same in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn

TENSORS, VALUES = 16, 64  # of the model, and of each of those: what another checkpoint can't agree in
T = TypeVar("T")


def fingerprint(weights: Mapping[str, Tensor], patches: Mapping[str, object] | None = None) -> str:
    """Such as "3f2a91bc, float16": of 64 values of each of 16 tensors, evenly spaced by their names, and of as many patches.

    patches: what is added to a weight, by its name: tensors and numbers, in tuples or lists, or in objects that hold them in ``weights``.
    The type of the weights is told, since a checkpoint that was made smaller holds other values.
    """
    digest = hashlib.blake2s(digest_size=4)
    kinds: set[str] = set()
    for name in spread(sorted(weights), TENSORS):
        weight = weights[name]
        kinds.add(str(weight.dtype).removeprefix("torch."))
        digest.update(f"{name} {tuple(weight.shape)}".encode() + some_values(weight))
    if patches:
        digest.update(f"{len(patches)} patches".encode())
        for name in spread(sorted(patches), TENSORS):
            digest.update(name.encode())
            add(digest, patches[name])
    return f"{digest.hexdigest()}, {' and '.join(sorted(kinds)) or 'no weights'}"


def fingerprint_of(network: nn.Module, loaded: Callable[[nn.Module], AbstractContextManager[object]] = nullcontext) -> str:
    """Of all parameters; those that a LoRA adds are patches.

    loaded: a context in which the parameters of one module are there, for hosts that keep them elsewhere while it doesn't run.
    """
    names = [name for name, _ in network.named_parameters()]
    own, lora = ([name for name in names if ("lora_" in name) is added] for added in (False, True))
    return fingerprint(Weights(network, own, loaded), Weights(network, lora, loaded))


class Weights(Mapping[str, Tensor]):
    """Parameters by name, each read when it is asked for."""

    def __init__(self, network: nn.Module, names: Sequence[str], loaded: Callable[[nn.Module], AbstractContextManager[object]]) -> None:
        self.network, self.names, self.loaded = network, names, loaded

    def __getitem__(self, name: str) -> Tensor:
        path, _, own = name.rpartition(".")
        module = self.network.get_submodule(path)
        with self.loaded(module):
            return getattr(module, own).detach()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def spread(items: Sequence[T], count: int) -> list[T]:
    """Of a long list ``count`` items, evenly spaced, with the first and the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def some_values(tensor: Tensor) -> bytes:
    """As float32; nothing of a tensor without values of its own."""
    if tensor.is_meta or not tensor.numel():
        return b""
    flat = tensor.detach().reshape(-1)
    index = torch.tensor(spread(range(len(flat)), VALUES), device=flat.device)
    try:
        return flat[index].float().cpu().numpy().tobytes()
    except (NotImplementedError, RuntimeError):  # packed in a way that can't be read one by one
        return b""


def add(digest: hashlib.blake2s, value: object) -> None:
    if isinstance(value, Tensor):
        digest.update(str(tuple(value.shape)).encode() + some_values(value))
    elif isinstance(value, (list, tuple)):
        for part in value:
            add(digest, part)
    elif isinstance(value, (str, int, float, bool)) or value is None:
        digest.update(repr(value).encode())
    elif hasattr(value, "weights"):
        digest.update(type(value).__name__.encode())
        add(digest, value.weights)
