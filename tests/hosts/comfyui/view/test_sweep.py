"""Sweeps on a real ComfyUI: one noise at several values, aligned lists, a grid whose words and pictures stand where they belong."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from comfy_client import PromptFailed, PromptInterrupted, PromptRefused
from comfy_events import Events
from comfy_graph import Graph, Node
from comfy_scenes import Scene, ksampler, scene
from comfy_searches import SWEEP, sweep
from comfy_server import Server
from comfy_uncertainty import SAMPLING, samples, save


def demo(batch: int = 1, digit: int = 3) -> tuple[Scene, Any]:
    g = Graph()
    loaded = g.node("UQ_LoadDemoModel", digit=digit, batch_size=batch)
    return Scene(g, loaded, loaded[1], loaded[2], loaded[4]), loaded[3]


def values(comfy: Server, s: Scene, node: Node, outputs: range = range(7)) -> list[list[Any]]:
    readers = [s.graph.node("UQTest_SaveValue", value=node[i]) for i in outputs]
    history = comfy.run(s.graph)
    return [comfy.value(history, reader) for reader in readers]


def test_all_lists_are_aligned_and_the_price_is_counted(comfy: Server) -> None:
    s, vae = demo(batch=2)
    grid, images, labels, scores, latents, results, costs = values(comfy, s, sweep(s, vae, "0, 0.02; 0.04"))
    assert [image["shape"] for image in images] == [[1, 256, 256, 3]] * 6
    assert labels == [f"strength {v}" for v in ("0", "0", "0.02", "0.02", "0.04", "0.04")]
    assert len(scores) == 6 and min(scores) > 0 and len(set(scores)) == 6
    assert len(latents) == len(results) == len(costs) == 3
    assert len(grid) == 1 and grid[0]["shape"][0] == 1 and grid[0]["shape"][2] == 3 * 256 + 4 * 12


@pytest.mark.parametrize(("cfg", "sampler"), [(1.0, "euler"), (4.0, "euler_ancestral"), (1.0, "heun")])
def test_strength_zero_draws_what_ksampler_draws_from_the_same_noise(comfy: Server, cfg: float, sampler: str) -> None:
    s, vae = demo(batch=2)
    drawn = sweep(s, vae, "0", cfg=cfg, sampler_name=sampler)
    both = save(s, drawn[4]), save(s, ksampler(s, sampler=sampler, cfg=cfg))
    history = comfy.run(s.graph)
    assert torch.equal(*(samples(comfy, history, node) for node in both))


@pytest.mark.parametrize(
    ("text", "setting", "options", "costs"),
    [
        ("0, 0.02", "strength", {}, ["8 model calls", "16 model calls, +8, x2"]),
        ("0, 0.02", "strength", {"cfg": 1.0}, ["4 model calls", "12 model calls, +8, x3"]),
        ("0, 0.02", "strength", {"cfg": 1.0, "sampler_name": "heun"}, ["7 model calls", "21 model calls, +14, x3"]),
        ("posterior, forward", "mode", {}, ["16 model calls, +8, x2", "24 model calls, +16, x3"]),
        ("1, 4", "cfg", {"strength": 0.0}, ["4 model calls", "8 model calls, +4, x2"]),
    ],
)
def test_the_price_is_what_the_network_was_asked(comfy: Server, text: str, setting: str, options: dict[str, Any], costs: list[str]) -> None:
    """4 steps, 2 draws at each; CFG asks twice a step, Heun twice a step but for the last, guidance of the prompt alone."""
    s, vae = demo(batch=2)
    assert values(comfy, s, sweep(s, vae, text, setting, **options), range(6, 7)) == [costs]


@pytest.mark.parametrize(
    ("setting", "text", "labels"),
    [
        ("strength", "0.5", ["strength 0.5"]),
        ("percentile", "0,\n95,", ["percentile 0", "percentile 95"]),
        ("mode", "posterior, forward", ["mode posterior", "mode forward"]),
        ("cfg", "1, 2.5", ["cfg 1", "cfg 2.5"]),
    ],
)
def test_every_setting_is_what_the_guided_sampler_does_with_it(comfy: Server, setting: str, text: str, labels: list[str]) -> None:
    s, vae = demo()
    drawn = sweep(s, vae, text, setting)
    saved = [s.graph.node("UQTest_SaveValue", value=drawn[i]) for i in (2, 3)]
    wires = {"model": s.model, "positive": s.positive, "negative": s.negative, "latent_image": s.latent}
    singly = []
    for label in labels:
        value = label.split()[1]
        one = {setting: value if setting == "mode" else float(value)}
        node = s.graph.node("UQ_UncertaintyGuidedSampler", **wires, **SAMPLING | SWEEP | {"preset": "measured"} | one)
        singly.append(s.graph.node("UQTest_SaveUncertainty", uncertainty=node[1]))
    history = comfy.run(s.graph)
    assert comfy.value(history, saved[0]) == labels
    assert comfy.value(history, saved[1]) == [comfy.value(history, node)[0]["scores"][0] for node in singly]


@pytest.mark.parametrize(
    ("text", "setting", "sentence"),
    [
        ("", "strength", "values is empty; give one or more with commas between, such as 0, 0.01, 0.02"),
        (" , ;", "cfg", "values is empty"),
        ("0, many", "strength", "values must be numbers with commas between, such as 0, 0.01, 0.02; 'many' is no number"),
        ("0, 101", "strength", "strength in values must be between -100 and 100, got 101"),
        ("nan", "strength", "strength in values must be between -100 and 100, got nan"),
        ("-1", "percentile", "percentile in values must be between 0 and 100, got -1"),
        ("sideways", "mode", "values must be one of posterior, forward, autograd, got 'sideways'"),
        ("0.02, 0.020", "strength", "values holds 0.02 twice; leave one out"),
        (",".join(map(str, range(65))), "cfg", "values must be at most 64, since each is a sampling of its own, got 65"),
        ("1", "mood", "sweep must be one of strength, percentile, mode, cfg, got 'mood'"),
    ],
)
def test_a_wrong_list_is_a_sentence_before_anything_is_drawn(comfy: Server, text: str, setting: str, sentence: str) -> None:
    s, vae = demo()
    values_of = sweep(s, vae, text, setting)
    s.graph.node("UQTest_SaveValue", value=values_of)
    with pytest.raises(PromptRefused, match=sentence):
        comfy.run(s.graph)


def test_one_bar_counts_all_runs(comfy: Server) -> None:
    s, vae = demo()
    s.graph.node("UQTest_SaveValue", value=sweep(s, vae, "0.01, 0.02", seed=9))
    with Events(comfy) as events:
        comfy.run(s.graph, client_id=events.client_id)
        events.wait_for("execution_success")
    told = events.of("progress")
    assert {p["max"] for p in told} == {2 * (4 + 4 * 2)}
    numbers = [p["value"] for p in told]
    assert numbers == sorted(numbers) and numbers[-1] == 24


def test_a_cancel_in_the_second_run_writes_nothing_and_leaves_the_model_usable(comfy: Server) -> None:
    s, vae = demo()
    watched = s.having(
        model=s.graph.node("UQTest_CancelAtCall", model=s.model, call=7)
    )  # the first run, which only measures, comes to 5 or 6
    node = sweep(watched, vae, "0, 0.02", seed=11)
    s.graph.node("SaveImage", images=node, filename_prefix="cancelled")
    with pytest.raises(PromptInterrupted):
        comfy.run(s.graph)
    assert not list((comfy.base / "output").glob("*cancelled*"))
    s, vae = demo()
    assert values(comfy, s, sweep(s, vae, "0.01, 0.02", seed=11), range(3, 4))[0][0] > 0


def greys(g: Graph, count: int) -> Node:
    """A list of three batches: greys of 20, 40 and 60 %, each further picture of a batch 1 % lighter."""
    batches = [g.node("UQTest_NumberedImages", first=first, count=count, size=64) for first in (20, 40, 60)]
    return g.node("UQTest_ListOf", a=batches[0], b=batches[1], c=batches[2])


def seen(comfy: Server, g: Graph, grid: Node) -> list[list[int]]:
    """The even areas of a grid, in percent of grey, row by row. Each line of pixels is looked at, so that words don't count."""
    saved = g.node("SaveImage", images=grid, filename_prefix="grid")
    (file,) = comfy.run(g).outputs[str(saved)]["images"]
    rows: list[list[int]] = []
    for line in np.asarray(Image.open(io.BytesIO(comfy.fetch_output(file))).convert("L")):
        parts = np.split(line, np.flatnonzero(np.diff(line)) + 1)
        found = [round(int(part[0]) / 2.55) for part in parts if len(part) >= 200 and part[0] > 45]
        if found and (not rows or rows[-1] != found):
            rows.append(found)
    return rows


def test_a_list_of_batches_stands_in_columns(comfy: Server) -> None:
    g = Graph()
    numbers = g.node("UQ_SweepValues", values="1, 2, 3", name="tone")
    grid = g.node("UQ_SweepGrid", images=greys(g, 2), labels=numbers[1], columns=0, heading="tones")
    assert seen(comfy, g, grid) == [[20, 40, 60], [21, 41, 61]]


def test_columns_wrap_in_the_order_of_the_list(comfy: Server) -> None:
    g = Graph()
    numbers = g.node("UQ_SweepValues", values="1, 2, 3")
    grid = g.node("UQ_SweepGrid", images=greys(g, 1), labels=numbers[1], scores=numbers, columns=2)
    assert seen(comfy, g, grid) == [[20, 40], [60]]


def test_a_single_score_for_each_batch_makes_it_a_video(comfy: Server) -> None:
    g = Graph()
    grid = g.node("UQ_SweepGrid", images=greys(g, 5), scores=g.node("UQ_SweepValues", values="1, 2, 3"), columns=0)
    assert seen(comfy, g, grid) == [[22, 42, 62]]


@pytest.mark.parametrize(("output", "name"), [(1, "labels holds 2 texts"), (0, "scores holds 2 numbers")])
def test_lists_that_do_not_fit_are_told(comfy: Server, output: int, name: str) -> None:
    g = Graph()
    wires = {name.split()[0]: g.node("UQ_SweepValues", values="1, 2")[output]}
    g.node("UQTest_SaveValue", value=g.node("UQ_SweepGrid", images=greys(g, 1), columns=0, **wires))
    with pytest.raises(PromptFailed, match=f"{name}, but there are 3 images; give one for each"):
        comfy.run(g)


def test_a_sweep_with_any_sampler(comfy: Server) -> None:
    """Stock KSampler behind Uncertainty Guidance, once for each number; strength 0 is KSampler alone."""
    s, vae = demo(batch=2)
    numbers = s.graph.node("UQ_SweepValues", values="0, 0.02")
    guided = s.graph.node("UQ_UncertaintyGuidance", model=s.model, **SWEEP | {"preset": "measured", "strength": numbers})
    drawn = ksampler(s.having(model=guided))
    grid = s.graph.node("UQ_SweepGrid", images=s.graph.node("VAEDecode", samples=drawn, vae=vae), labels=numbers[1], columns=0)
    shape = s.graph.node("UQTest_SaveValue", value=grid)
    assert comfy.value(comfy.run(s.graph), shape)[0]["shape"][2] == 2 * 256 + 3 * 12


@pytest.mark.parametrize("family", ["flux", "video"])
def test_flux_and_video_latents(comfy: Server, family: str) -> None:
    """Strength 0 is KSampler; a sweep over values and one over a list have a column each, and pictures of their own."""
    s = scene(family)
    vae = s.graph.node("UQTest_Decoder", raw=False)
    zero, plain = save(s, sweep(s, vae, "0")[4]), save(s, ksampler(s))
    both = sweep(s, vae, "0, 0.02")
    numbers = s.graph.node("UQ_SweepValues", values="0, 0.02")
    guided = s.graph.node("UQ_UncertaintyGuidance", model=s.model, **SWEEP | {"preset": "measured", "strength": numbers})
    decoded = s.graph.node("VAEDecode", samples=ksampler(s.having(model=guided)), vae=vae)
    listed = s.graph.node("UQ_SweepGrid", images=decoded, labels=numbers[1], columns=0)
    readers = {name: s.graph.node("UQTest_SaveValue", value=node) for name, node in (("grid", both), ("scores", both[3]), ("list", listed))}
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, zero), samples(comfy, history, plain))
    found = {name: comfy.value(history, reader) for name, reader in readers.items()}
    assert len(set(found["scores"])) == 2 and min(found["scores"]) > 0
    assert found["grid"][0]["shape"][2] >= 2 * 64 + 3 * 12 and found["list"][0]["shape"][2] >= 2 * 64 + 3 * 12
