"""Every search in every place where it may stand: what comes out is what KSampler draws, whatever is around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from comfy_client import PromptInterrupted
from comfy_graph import Graph
from comfy_scenes import Scene, ksampler, scene
from comfy_searches import best_of, best_sampler, draft, finish, sweep, until
from comfy_server import Server
from comfy_uncertainty import SAMPLING, samples, save
from uncertainty_nodes.core.search.seeds import derive_seed

NEVER = {"rule": "threshold", "value": 0.0}  # the spread of predictions is above 0 always
Build = Callable[..., Any]  # a scene, how many images are tried, how many are kept; and KSampler's settings


def by_until(s: Scene, tried: int, kept: int, point: float | None = None, **settings: Any) -> Any:
    early = None
    if point is not None:
        drafts = draft(s, candidates=8, point=point, **settings | {"seed": 500})
        early = s.graph.node("UQ_Calibrate", uncertainty=drafts[2], name="")
    return until(s, wanted=kept, max_attempts=tried, early_calibration=early, early_limit=100.0, **NEVER | settings)[0]


def by_best_of(s: Scene, tried: int, kept: int, point: float = 0.5, **settings: Any) -> Any:
    share = 1.0 if kept == tried else 0.5
    return best_of(s, candidates=tried, keep=kept, points=f"{point:g}", fractions=f"{share:g}", **settings)[0]


def by_best_sampler(s: Scene, tried: int, kept: int, point: float = 0.5, **settings: Any) -> Any:
    g, chosen = s.graph, SAMPLING | settings
    wrapped = best_sampler(s, chosen["sampler_name"], candidates=tried, points=f"{point:g}")
    guider = g.node("CFGGuider", model=s.model, positive=s.positive, negative=s.negative, cfg=chosen["cfg"])
    named = {"scheduler": chosen["scheduler"], "steps": chosen["steps"], "denoise": chosen["denoise"]}
    sigmas, noise = g.node("BasicScheduler", model=s.model, **named), g.node("RandomNoise", noise_seed=chosen["seed"])
    return g.node("SamplerCustomAdvanced", noise=noise, guider=guider, sampler=wrapped, sigmas=sigmas, latent_image=s.latent)[0]


def by_drafts(s: Scene, tried: int, kept: int, point: float = 0.5, **settings: Any) -> Any:
    return finish(s, draft(s, candidates=tried, point=point, **settings), keep=kept)[0]


def by_sweep(s: Scene, tried: int, kept: int, **settings: Any) -> Any:
    """The first of its values is KSampler."""
    strengths = ", ".join(f"{0.02 * i:g}" for i in range(tried))
    return sweep(s, s.graph.node("UQTest_Decoder", raw=False), strengths, **settings)[4]


SEARCHES: dict[str, Build] = {
    "until": by_until, "best of": by_best_of, "best of sampler": by_best_sampler, "drafts": by_drafts, "sweep": by_sweep,
}  # fmt: skip
POINTED = [name for name in SEARCHES if name != "sweep"]


def save_all(s: Scene, latents: Any) -> Any:
    return s.graph.node("UQTest_SaveLatents", latents=latents)


def alone(s: Scene, tried: int, seed: int = 1, **settings: Any) -> list[Any]:
    """What KSampler draws with the seed of each try."""
    return [save(s, ksampler(s, seed=derive_seed(seed, i), **settings)) for i in range(tried)]


def check(comfy: Server, history: Any, name: str, found: Any, plain: list[Any], kept: int) -> None:
    images, stock = samples(comfy, history, found), torch.cat([samples(comfy, history, node) for node in plain])
    places = [place_of(image, stock) for image in images]
    if name == "sweep":
        assert len(images) == len(plain) and places == [0] + [None] * (len(plain) - 1)
    else:
        expected = 1 if name == "best of sampler" else kept
        assert len(images) == expected and None not in places and len(set(places)) == expected, places


def place_of(image: Tensor, stock: Tensor) -> int | None:
    return next((i for i, other in enumerate(stock) if torch.equal(image, other)), None)


def run_and_check(comfy: Server, s: Scene, name: str, tried: int, kept: int, point: float | None = None, **settings: Any) -> None:
    asked = settings if point is None else settings | {"point": point}
    found, plain = save_all(s, SEARCHES[name](s, tried, kept, **asked)), alone(s, tried, **settings)
    check(comfy, comfy.run(s.graph), name, found, plain, kept)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize(("tried", "kept"), [(1, 1), (3, 3)], ids=["one try", "all kept"])
def test_one_try_and_all_kept(comfy: Server, name: str, tried: int, kept: int) -> None:
    run_and_check(comfy, scene("flow"), name, tried, kept)


@pytest.mark.parametrize("name", POINTED)
@pytest.mark.parametrize("point", [0.0, 1.0])
def test_points_at_either_end_of_the_schedule(comfy: Server, name: str, point: float) -> None:
    run_and_check(comfy, scene("eps"), name, 3, 1, point)


@pytest.mark.parametrize("name", SEARCHES)
def test_image_to_image_with_a_mask(comfy: Server, name: str) -> None:
    s = scene("flow", scale=1.0)
    mask = s.graph.node("SolidMask", value=0.5, width=64, height=64)
    s = s.having(latent=s.graph.node("SetLatentNoiseMask", samples=s.latent, mask=mask))
    run_and_check(comfy, s, name, 3, 1, denoise=0.6)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("family", ["flux", "video"])
def test_flux_and_video_latents(comfy: Server, name: str, family: str) -> None:
    run_and_check(comfy, scene(family), name, 3, 1)


@pytest.mark.parametrize("name", ["until", "best of", "drafts"])
def test_where_nothing_is_accepted_what_comes_after_is_skipped(comfy: Server, name: str) -> None:
    s = scene("flow")
    earlier = s.graph.node("UQ_Calibrate", uncertainty=draft(s, candidates=8, seed=500)[2], name="")
    found = {
        "until": lambda: until(s, seed=77, max_attempts=2, early_calibration=earlier, early_limit=0.0, **NEVER),
        "best of": lambda: best_of(s, seed=77, candidates=2, mode="stop", limit=0.0, calibration=earlier),
        "drafts": lambda: finish(s, draft(s), ""),
    }[name]()
    skipped = save(s, found)
    assert str(skipped) not in comfy.run(s.graph).outputs


@pytest.mark.parametrize("name", SEARCHES)
def test_a_cancel_in_the_middle_leaves_nothing_behind(comfy: Server, name: str) -> None:
    """Call 7 of the run comes in the second candidate, or in the last step of a whole sampling."""
    salt = 200 + list(SEARCHES).index(name)
    s = scene("flow", salt=salt)
    state = s.graph.node("UQTest_ModelState", model=s.model, after=ksampler(s))
    before = comfy.value(comfy.run(s.graph), state)
    s = scene("flow", salt=salt)
    broken = s.having(model=s.graph.node("UQTest_CancelAtCall", model=s.model, call=7))
    save_all(s, SEARCHES[name](broken, 3, 1))
    with pytest.raises(PromptInterrupted):
        comfy.run(s.graph)
    s = scene("flow", salt=salt)
    found, plain = save_all(s, SEARCHES[name](s, 3, 1)), alone(s, 3)
    state = s.graph.node("UQTest_ModelState", model=s.model, after=found_after(s, found))
    history = comfy.run(s.graph)
    check(comfy, history, name, found, plain, 1)
    assert comfy.value(history, state) == before


def found_after(s: Scene, found: Any) -> list[Any]:
    """What a node that saves has been given."""
    return s.graph[found.id]["inputs"]["latents"]


@pytest.mark.parametrize("name", SEARCHES)
def test_inside_a_subgraph_that_is_made_while_it_runs(comfy: Server, name: str) -> None:
    s = scene("flow")
    since, tried = len(s.graph), 1 if name == "sweep" else 3  # of a list ComfyUI hands on the first
    found = save_all(s, s.graph.fold(since, SEARCHES[name](s, tried, 1)))
    plain = alone(s, tried)
    check(comfy, comfy.run(s.graph), name, found, plain, 1)


@pytest.mark.parametrize("name", SEARCHES)
def test_inside_a_subgraph_of_the_front_end(comfy: Server, name: str) -> None:
    """Which takes its nodes out of it before it queues them: what is left are ids with colons."""
    s = scene("flow")
    found, plain = save_all(s, SEARCHES[name](s, 3, 1)), alone(s, 3)
    named, inner = Graph(), {id: f"7:{id}" for id in s.graph}
    for id, node in s.graph.items():
        inputs = {key: [inner[value[0]], value[1]] if isinstance(value, list) else value for key, value in node["inputs"].items()}
        named[inner[id]] = {**node, "inputs": inputs}
    for each in (found, *plain):
        each.id = inner[each.id]
    check(comfy, comfy.run(named), name, found, plain, 1)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("cache_iterations", [False, True])
def test_in_the_rounds_of_a_core_loop(comfy: Server, name: str, cache_iterations: bool) -> None:
    """The number of the round is the seed."""
    if "StartLoop" not in comfy.object_info():
        pytest.skip("this ComfyUI has no loop of its own")
    s = scene("flow", salt=300 + 2 * list(SEARCHES).index(name) + cache_iterations)
    start = s.graph.node("StartLoop", cache_iterations=cache_iterations, mode="simple", **{"mode.num_iterations": 2})
    drawn = SEARCHES[name](s, 2, 1, seed=start[0])
    found = save_all(s, s.graph.node("EndLoop", output_value=drawn, accumulate=True))
    rounds = [alone(s, 2, seed=seed) for seed in range(2)]
    history = comfy.run(s.graph)
    images = samples(comfy, history, found).chunk(2)
    for each, plain in zip(images, rounds, strict=True):
        assert any(torch.equal(each[:1], samples(comfy, history, node)) for node in plain)
    assert len(images[0]) == (2 if name == "sweep" else 1) and not torch.equal(*images)
