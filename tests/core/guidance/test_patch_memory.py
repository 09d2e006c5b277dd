"""What patches keep from call to call: found wherever Python lets them put it, and put back as it was."""

from __future__ import annotations

import random
import types
from collections import deque
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from uncertainty_nodes.core.guidance.patch_memory import Memory, restoring

CPU = torch.device("cpu")
LATEST = None


class Counter:
    def __init__(self) -> None:
        self.calls, self.cache = 0, {}

    def __call__(self) -> None:
        self.calls += 1
        self.cache[self.calls] = torch.zeros(1)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.residual = None


def in_closure():
    count = 0

    def patch():
        nonlocal count
        count += 1

    return patch, lambda: count


def in_global():
    def patch():
        global LATEST
        LATEST = torch.zeros(1) if LATEST is None else LATEST + 1

    return patch, lambda: LATEST


def in_object():
    counter = Counter()
    return counter, lambda: (counter.calls, list(counter.cache))


def in_bound_method():
    counter = Counter()
    return counter.__call__, lambda: (counter.calls, list(counter.cache))


def in_argument():
    steps = deque([1])
    return partial(lambda steps: steps.append(2), steps), lambda: list(steps)


def in_attribute():
    def patch():
        patch.seen = [*getattr(patch, "seen", []), 1]

    return patch, lambda: getattr(patch, "seen", [])


def in_generator():
    generator = torch.Generator().manual_seed(3)
    return (lambda: torch.rand(4, generator=generator)), lambda: generator.get_state().tolist()


@pytest.mark.parametrize("make", [in_closure, in_global, in_object, in_bound_method, in_argument, in_attribute, in_generator])
def test_it_is_as_before_after_the_block(make):
    patch, state = make()
    before = state()
    with restoring(Memory.of([{"patches": [patch]}]), CPU):
        patch()
        assert state() != before
    assert state() == before


def test_the_block_ends_so_with_an_error_too_and_a_network_forgets_what_hung_on_it():
    network = Network()
    numbers = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    def fail():
        network.residual, network.cached = torch.zeros(1), torch.zeros(1)
        random.random(), np.random.rand(), torch.rand(1)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"), restoring(Memory.of([network]), CPU):
        fail()
    assert network.residual is None and not hasattr(network, "cached") and len(network.layer.weight) == 2
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == numbers


def test_a_cache_of_tensors_begins_the_block_as_it_began_the_run():
    counter = Counter()
    start = Memory.of([counter])
    counter()
    with restoring(Memory.of([counter]), CPU, start):
        assert counter.cache == {} and counter.calls == 0
        counter()
        counter()
    assert counter.calls == 1 and list(counter.cache) == [1]


def test_what_keeps_no_tensors_goes_on_in_the_block():
    patch, state = in_closure()
    start = Memory.of([patch])
    patch()
    with restoring(Memory.of([patch]), CPU, start):
        assert state() == 1


def test_a_host_says_which_objects_are_its_own():
    module = types.ModuleType("a_host.sampling")
    exec("class Patcher:\n    def __init__(self):\n        self.steps = 0", vars(module))  # noqa: S102
    patcher = module.Patcher()
    for names, after in ((frozenset(), 0), (frozenset({"a_host"}), 1)):
        patcher.steps = 0
        with restoring(Memory.of([{"of the host": patcher}], names), CPU):
            patcher.steps = 1
        assert patcher.steps == after
