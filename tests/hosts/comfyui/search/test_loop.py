"""Sample Until Accepted in the core's own loop, of versions of ComfyUI that have one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from comfy_graph import Node
from comfy_scenes import Scene, scene
from comfy_searches import until, value, values
from comfy_server import Server
from comfy_uncertainty import samples, save

NEVER = {"rule": "threshold", "value": 0.0}  # the spread of predictions is above 0 always
ALWAYS = {"rule": "threshold", "value": 1e9}


@pytest.fixture(autouse=True)
def loops(comfy: Server) -> None:
    if "StartLoop" not in comfy.object_info():
        pytest.skip("this ComfyUI has no loop of its own")


def loop(s: Scene, rounds: int, output: int, cache_iterations: bool, **options: Any) -> Node:
    """The output of the last round."""
    mode = {"mode": "simple", "mode.num_iterations": rounds}
    start = s.graph.node("StartLoop", cache_iterations=cache_iterations, **mode)
    node = until(s, max_attempts=1, so_far=start[4], **options)
    return s.graph.node("EndLoop", output_value=node[output], next_iteration_value=node[6], accumulate=False)


@pytest.mark.parametrize("cache_iterations", [False, True])
@pytest.mark.parametrize("rule", [NEVER, ALWAYS], ids=["never", "always"])
def test_a_loop_is_one_run_and_stops_to_cost_once_enough_is_good(comfy: Server, cache_iterations: bool, rule: dict[str, Any]) -> None:
    s = scene("flow", salt=60 + cache_iterations)
    own = 0.001 + cache_iterations / 1e4 + (rule is NEVER) / 1e5  # else the cache would hand out one count for all
    counted = s.graph.node("UQTest_CountCalls", model=s.graph.node("UQTest_Wait", model=s.model, seconds=own))
    end = loop(s.having(model=counted), 3, 0, cache_iterations, **rule)
    calls = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=end)
    kept, whole = save(s, end), save(s, until(s, max_attempts=3, **rule))
    history = comfy.run(s.graph)
    assert torch.equal(samples(comfy, history, kept), samples(comfy, history, whole))
    attempts = 3 if rule is NEVER else 1
    assert sum(history.outputs[str(calls)]["all_rows"]) == attempts * (4 * 2 + 2 * 2)


@pytest.mark.parametrize("cache_iterations", [False, True])
def test_the_rounds_are_told_as_one_run(comfy: Server, cache_iterations: bool) -> None:
    s = scene("flow", salt=70 + cache_iterations)
    told = [value(s, loop(s, 3, output, cache_iterations, **NEVER)) for output in (2, 3, 4)]
    history = comfy.run(s.graph)
    attempts, accepted, report = (values(comfy, history, each) for each in told)
    assert (attempts, accepted) == ([3], [False])
    assert report[0].startswith("0 accepted of 1 wanted, after 3 attempts.") and report[0].count("Rejected: score") == 3


@pytest.mark.parametrize("cache_iterations", [False, True])
def test_the_same_prompt_again_gives_the_same(comfy: Server, cache_iterations: bool) -> None:
    images = []
    for _ in range(2):
        s = scene("flow", salt=80 + cache_iterations)
        kept = save(s, loop(s, 2, 0, cache_iterations, **NEVER))
        images.append(samples(comfy, comfy.run(s.graph), kept))
    assert torch.equal(*images)
