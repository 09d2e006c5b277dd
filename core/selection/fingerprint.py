"""Which model scores come from: a cheap hash of some of its weights, the same in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
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
        kinds.add(str(weights[name].dtype).removeprefix("torch."))
        digest.update(f"{name} {tuple(weights[name].shape)}".encode() + some_values(weights[name]))
    if patches:
        digest.update(f"{len(patches)} patches".encode())
        for name in spread(sorted(patches), TENSORS):
            digest.update(name.encode())
            add(digest, patches[name])
    return f"{digest.hexdigest()}, {' and '.join(sorted(kinds)) or 'no weights'}"


def fingerprint_of(network: nn.Module) -> str:
    """Of all parameters; those that a LoRA adds are patches."""
    named = dict(network.named_parameters())
    lora = {name: p.detach() for name, p in named.items() if "lora_" in name}
    return fingerprint({name: p.detach() for name, p in named.items() if name not in lora}, lora)


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
