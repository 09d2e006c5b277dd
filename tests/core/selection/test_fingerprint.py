"""Fingerprints: equal for the same weights in any run, another for other weights or patches."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import torch
from accelerate import cpu_offload
from accelerate.utils import align_module_device
from torch import nn

from uncertainty_nodes.core.selection.fingerprint import TENSORS, fingerprint, fingerprint_of, spread


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(*(nn.Linear(7, 7) for _ in range(40)))


def test_it_is_the_same_in_another_process():
    code = (
        "import torch; from torch import nn; torch.manual_seed(0); n = nn.Sequential(*(nn.Linear(7, 7) for _ in range(40)));"
        "from uncertainty_nodes.core.selection.fingerprint import fingerprint_of; print(fingerprint_of(n))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert told == fingerprint_of(network()) and told.endswith(", float32") and len(told.split(",")[0]) == 8


def test_other_weights_names_and_types_are_other_models():
    one, weights = fingerprint_of(network()), {name: p.detach() for name, p in network().named_parameters()}
    assert fingerprint(weights) == one
    assert fingerprint_of(network(1)) != one
    assert fingerprint({f"x.{name}": p for name, p in weights.items()}) != one
    assert fingerprint({name: p.half() for name, p in weights.items()}).endswith(", float16")
    slightly = dict(weights)
    slightly["0.bias"] = weights["0.bias"] + 1e-6  # the first by name is always looked at
    assert fingerprint(slightly) != one


def test_patches_and_their_strength_belong_to_it():
    weights = {"a": torch.zeros(3)}
    plain, lora = fingerprint(weights), SimpleNamespace(weights=(torch.ones(2, 3), torch.ones(3, 2), 8.0, None))
    patched = [fingerprint(weights, {"a": [(strength, lora, 1.0, None, None)]}) for strength in (0.5, 1.0)]
    assert len({plain, *patched}) == 3
    assert fingerprint(weights, {"a": [(0.5, lora, 1.0, None, None)]}) == patched[0]
    assert fingerprint(weights, {}) == plain


def test_a_lora_inside_a_network_is_a_patch():
    plain, adapted = network(), network()
    adapted[0].lora_A = nn.Linear(7, 2)
    assert fingerprint_of(adapted) != fingerprint_of(plain)
    before = fingerprint_of(adapted)
    with torch.no_grad():
        adapted[0].lora_A.weight += 1
    assert fingerprint_of(adapted) != before


def test_weights_that_are_offloaded_have_the_fingerprint_of_the_loaded_ones():
    plain, offloaded = network(), cpu_offload(network(), torch.device("cpu"))
    assert all(p.is_meta for p in offloaded.parameters())
    assert fingerprint_of(offloaded, align_module_device) == fingerprint_of(plain)
    assert fingerprint_of(cpu_offload(network(1), torch.device("cpu")), align_module_device) != fingerprint_of(plain)
    assert all(p.is_meta for p in offloaded.parameters())
    x = torch.ones(1, 7)
    assert torch.equal(offloaded(x), plain(x))


def test_weights_that_hold_no_values_are_known_by_their_shape():
    assert fingerprint({"a": torch.zeros(3, device="meta")}) != fingerprint({"a": torch.zeros(4, device="meta")})
    assert fingerprint({}).endswith("no weights")


def test_what_is_picked_is_spread_evenly():
    assert spread(range(3), TENSORS) == [0, 1, 2]
    picked = spread(range(1000), TENSORS)
    assert (picked[0], picked[-1], len(picked)) == (0, 999, TENSORS)
