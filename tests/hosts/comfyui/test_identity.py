"""Looking changes nothing, and strength 0 is no node: bit-identical latents, on every sampler and kind of model.

UQ_TEST_FULL=1 runs every combination; otherwise every sampler meets every kind of model once.
"""

from __future__ import annotations

import os

import pytest
import torch

from comfy_scenes import ksampler, scene
from comfy_server import Server
from comfy_uncertainty import GUIDANCE, advanced, guidance, guided_sampler, read, record, samples, save, save_uncertainty, uncertainty

SAMPLERS = ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "ddim", "uni_pc", "lcm"]
KINDS = ["flow", "eps", "v"]
EVERY = [(kind, sampler, batch) for kind in KINDS for sampler in SAMPLERS for batch in (1, 4)]
# batches of 4 cost four times as much on the UNets: there each sampler meets one of the two sizes
COVERING = [(k, s, b) for k, s, b in EVERY if k == "flow" or (SAMPLERS.index(s) + KINDS.index(k)) % 2 == (b == 4)]


@pytest.mark.parametrize(("kind", "sampler", "batch"), EVERY if os.environ.get("UQ_TEST_FULL") else COVERING)
def test_recording_and_strength_zero_leave_the_latent_as_it_is(comfy: Server, kind: str, sampler: str, batch: int) -> None:
    s = scene(kind, batch=batch, size=8 if kind == "flow" else 4)
    plain = save(s, ksampler(s, sampler, steps=3), "plain")
    watched, patch = record(s, start_percent=0.3)
    drawn = ksampler(watched, sampler, steps=3)
    recorded, result = save(s, drawn, "recorded"), read(s, drawn, patch)
    patched = save(s, ksampler(guidance(s, strength=0.0)[0], sampler, steps=3), "patched")
    ours = guided_sampler(s, sampler_name=sampler, steps=3, strength=0.0)
    sampled, measured = save(s, ours, "sampled"), save_uncertainty(s, ours[1])
    history = comfy.run(s.graph)
    expected = samples(comfy, history, plain)
    assert expected.isfinite().all() and expected.std() > 0
    for node in (recorded, patched, sampled):
        assert torch.equal(samples(comfy, history, node), expected)
    assert uncertainty(comfy, history, result)["nfe"] >= 2 * 2
    assert len(uncertainty(comfy, history, measured)["scores"]) == batch


@pytest.mark.parametrize("kind", ["flow", "v"])
def test_custom_sampling_with_our_guider_at_strength_zero_is_the_stock_guider(comfy: Server, kind: str) -> None:
    s = scene(kind, batch=2, size=8 if kind == "flow" else 4)
    latents = {}
    for name, node, options in (
        ("stock", "CFGGuider", {}),
        ("ours", "UQ_UncertaintyGuider", {**GUIDANCE, "strength": 0.0}),
        ("guided", "UQ_UncertaintyGuider", GUIDANCE),
    ):
        guider = s.graph.node(node, model=s.model, positive=s.positive, negative=s.negative, cfg=3.0, **options)
        latents[name] = save(s, advanced(s, guider), name)
    history = comfy.run(s.graph)
    stock, ours, guided = (samples(comfy, history, latents[name]) for name in ("stock", "ours", "guided"))
    assert torch.equal(ours, stock)
    assert not torch.equal(guided, stock) and guided.isfinite().all()


def test_the_sampler_node_is_ksampler_on_a_guided_model(comfy: Server) -> None:
    s = scene("flow", batch=2)
    ours = save(s, guided_sampler(s, sampler_name="euler_ancestral"), "ours")
    stock = save(s, ksampler(guidance(s)[0], "euler_ancestral"), "stock")
    plain = save(s, ksampler(s, "euler_ancestral"), "plain")
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, ours), samples(comfy, history, stock))
    assert not torch.equal(samples(comfy, history, ours), samples(comfy, history, plain))
