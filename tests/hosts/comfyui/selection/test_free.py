"""Scores that cost no model call, recorded in a real ComfyUI: the latent is the same bit for bit, and the scores are core's."""

from __future__ import annotations

import pytest
import torch

from comfy_client import PromptFailed
from comfy_scenes import ksampler, scene
from comfy_server import Server
from comfy_uncertainty import read, record, samples, save, uncertainty
from uncertainty_nodes.core.options import FreeScore


@pytest.mark.parametrize(("kind", "sampler"), [("flow", "euler"), ("eps", "dpmpp_2m_sde"), ("v", "euler_ancestral")])
def test_recording_leaves_the_latent_as_it_is_and_costs_nothing(comfy: Server, kind: str, sampler: str) -> None:
    s = scene(kind, batch=2, size=8 if kind == "flow" else 4)
    nodes = [(save(s, ksampler(s, sampler, steps=3), "plain"), None)]
    for score in FreeScore:
        watched, patch = record(s, quantity=score.value)
        drawn = ksampler(watched, sampler, steps=3)
        nodes.append((save(s, drawn, score.value), read(s, drawn, patch)))
    history = comfy.run(s.graph)
    plain = samples(comfy, history, nodes[0][0])
    for (latent, result), score in zip(nodes[1:], FreeScore, strict=True):
        assert torch.equal(samples(comfy, history, latent), plain)
        found = uncertainty(comfy, history, result)
        assert (found["quantity"], found["nfe"], len(found["scores"]), len(found["sigmas"])) == (score.value, 0, 2, 3)


def test_without_guidance_there_is_a_trajectory_and_no_gap(comfy: Server) -> None:
    s = scene("flow")
    watched, patch = record(s, quantity="trajectory")
    result = read(s, ksampler(watched, steps=3, cfg=1.0), patch)
    assert uncertainty(comfy, comfy.run(s.graph), result)["direction"] == "high_is_bad"
    s = scene("flow")
    watched, patch = record(s, quantity="condition_gap")
    read(s, ksampler(watched, steps=3, cfg=1.0), patch)
    with pytest.raises(PromptFailed, match="There is no condition gap"):
        comfy.run(s.graph)


def test_the_gap_lies_between_the_two_prompts(comfy: Server) -> None:
    s = scene("flow")
    results = []
    for negative in (s.negative, s.positive):
        watched, patch = record(s.having(negative=negative), quantity="condition_gap")
        results.append(read(s, ksampler(watched, steps=3, cfg=4.0), patch))
    history = comfy.run(s.graph)
    apart, same = (comfy.value(history, node)[0]["scores"][0] for node in results)
    assert apart > 1e-3 > 1e3 * abs(same)
