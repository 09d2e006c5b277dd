"""Patches that remember earlier calls, on either side of ours: the sampled latent is the one without ours, or a sentence says why not."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from comfy_client import PromptFailed
from comfy_neighbours import SIDES, failure, patch, sample
from comfy_scenes import scene
from comfy_server import Server
from comfy_uncertainty import estimator, save_uncertainty

CACHE = {"reuse_threshold": 3.0, "start_percent": 0.0, "end_percent": 0.8, "verbose": True}
STOCK: dict[str, dict[str, Any]] = {"EasyCache": CACHE, "LazyCache": CACHE, "TomePatchModel": {"ratio": 0.5}}
OF_PACKS = ["CacheInClosure", "CacheInGlobals", "CacheInModule", "CacheOnNetwork", "CacheOfBlocks"]
SKIPPED = re.compile(r"Cache - skipped (\d+)/\d+ steps")


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("family", ["eps", "flux"])
@pytest.mark.parametrize("name", STOCK)
def test_stock_patches_that_remember(comfy: Server, name: str, family: str, batch: int) -> None:
    if name not in comfy.object_info():
        pytest.skip(f"this ComfyUI has no {name}")
    before, other = len(comfy.log()), patch(name, **STOCK[name])
    try:
        outcome = sample(comfy, family, other, batch=batch, steps=8)
    except PromptFailed:
        if alone := failure(comfy, family, other, batch=batch, steps=8, sides=[]):
            pytest.skip(f"{name} fails by itself here: {alone.splitlines()[0]}")
        raise
    skipped = [int(steps) for steps in SKIPPED.findall(comfy.log()[before:])]
    if "Cache" in name:
        assert len(skipped) == 1 + len(SIDES) and skipped[0] >= 2 and len(set(skipped)) == 1, skipped
    if (name, family) != ("TomePatchModel", "flux"):  # which has no place to merge tokens
        assert not torch.equal(outcome.expected, outcome.plain)
    outcome.check()
    first, second = outcome.measured
    assert first["scores"] == second["scores"]


@pytest.mark.parametrize("family", ["eps", "flow"])
@pytest.mark.parametrize("name", OF_PACKS)
def test_patches_that_remember_as_packs_do(comfy: Server, name: str, family: str) -> None:
    outcome = sample(comfy, family, patch(f"UQTest_{name}"), steps=6)
    assert not torch.equal(outcome.expected, outcome.plain)
    outcome.check()
    alone = sample(comfy, family, lambda s: s, steps=6, sides=[("record", False)]).measured[0]
    for measured in outcome.measured:  # the first step, where all have come from one noise, is measured as if nothing were reused
        assert measured["curve"][0] == pytest.approx(alone["curve"][0], rel=1e-4)


@pytest.mark.parametrize("family", ["eps", "flow"])
@pytest.mark.parametrize(("ours", "behind"), SIDES)
def test_a_patch_that_remembers_out_of_reach_is_named(comfy: Server, family: str, ours: str, behind: bool) -> None:
    hidden = patch("UQTest_HiddenCache")
    assert not failure(comfy, family, hidden, sides=[])
    said = failure(comfy, family, hidden, sides=[(ours, behind)])
    assert "The patch HiddenCache (uq-test-nodes.caches) on this model remembers earlier model calls" in said
    assert "Take that patch off the model" in said


def test_finished_latents_are_measured_as_if_nothing_were_reused(comfy: Server) -> None:
    scores = []
    for name in ("", *OF_PACKS):
        s = scene("eps", batch=2, scale=1.0)
        other = patch(f"UQTest_{name}")(s) if name else s
        node = save_uncertainty(s, estimator(other, s.latent)[1])
        scores.append(comfy.value(comfy.run(s.graph), node)[0]["scores"])
    assert all(each == scores[0] for each in scores[1:])
