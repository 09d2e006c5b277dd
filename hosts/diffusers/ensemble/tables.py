"""diffusers host: class-embedding tables as members of an ensemble: found by name, started anew for training, and run as one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ....core.ensemble.training import Enter, member_start_generator


def tables(network: nn.Module) -> dict[str, Tensor]:
    """The class-embedding tables (classes, D) by name; a DiT has one in each block. Raises ValueError for a network without one."""
    by_name = {f"{name}.weight": module.weight for name, module in network.named_modules() if isinstance(module, nn.Embedding)}
    if not by_name:
        raise ValueError(f"{type(network).__name__} has no table of class embeddings; train embeddings of a word, or LoRAs.")
    return by_name


@contextmanager
def parameters_replaced(network: nn.Module, parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """The network with other parameters of these names, inside the block. On every exit the very same tensors are back, untouched."""
    slots = {name: (network.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in parameters}
    originals = {name: getattr(*slot) for name, slot in slots.items()}
    try:
        for name, parameter in parameters.items():
            setattr(*slots[name], parameter)
        yield
    finally:
        for name, parameter in originals.items():
            setattr(*slots[name], parameter)


def start_tables(network: nn.Module, labels: Tensor, seed: int) -> Enter:
    """For ``core.ensemble.training``: each member's tables, whose rows of the classes in ``labels`` begin at random.

    Rows are drawn from N(0, s^2), s being the spread of the trained table; the other rows, such as that of no class, stay as
    trained. A class of few samples is then one that a member knows little of. Source: Berry et al. 2024 (DECU), whose code
    begins the whole table anew.
    """

    @contextmanager
    def enter(k: int) -> Iterator[Mapping[str, Tensor]]:
        generator, started = member_start_generator(seed, k), {}
        for name, table in tables(network).items():
            values, rows = table.detach().float().clone(), labels.unique().to(table.device)
            drawn = torch.randn((len(rows), values.shape[1]), generator=generator)
            values[rows] = drawn.to(values) * values.std()
            started[name] = nn.Parameter(values)
        with parameters_replaced(network, started):
            yield started

    return enter


def stack_tables(members: Sequence[Mapping[str, Tensor]], like: Mapping[str, Tensor]) -> dict[str, nn.Parameter]:
    """The tables of several members one below the other: class c of the i-th is row i * classes + c."""
    return {
        name: nn.Parameter(torch.cat([member[name] for member in members]).to(table), requires_grad=False) for name, table in like.items()
    }
