"""What the guidance nodes send to their stage: the price of a run, known before the next one, and its curves and map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from comfy_events import Events
from comfy_scenes import ksampler, scene
from comfy_server import Server
from comfy_uncertainty import GUIDANCE, SAMPLING, guidance, guided_sampler
from uncertainty_nodes.core.guidance.price import Evaluation, price
from uncertainty_nodes.core.options import DrawOptions, GuidanceMode, GuidanceOptions, StepWindow


def options(**given: Any) -> GuidanceOptions:
    o = GUIDANCE | given
    window = StepWindow(o["start_percent"], o["end_percent"])
    return GuidanceOptions(o["strength"], draws=DrawOptions(samples=o["samples"]), window=window, mode=GuidanceMode(o["mode"]))


def stage(comfy: Server, family: str, **settings: Any) -> tuple[dict[str, Any], float]:
    """What a run sent, and the model calls per image that guidance and measuring came to."""
    s = scene(family, batch=2, scale=1.0)
    node = guided_sampler(s, **settings)
    told = s.graph.node("UQTest_SaveUncertainty", uncertainty=node[1])
    history = comfy.run(s.graph)
    (sent,) = history.outputs[str(node)]["uq_stage"]
    return sent["stage"], comfy.value(history, told)[0]["nfe"]


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("eps", {"mode": "posterior", "cfg": 1.0, "steps": 6}),
        ("eps", {"mode": "forward", "start_percent": 0.3, "end_percent": 0.8, "steps": 6}),
        ("flow", {"mode": "posterior", "steps": 6}),  # nothing can be guided at its first level
        ("flow", {"mode": "posterior", "sampler_name": "heun", "start_percent": 0.2}),
    ],
)
def test_the_price_is_what_the_run_cost(comfy: Server, family: str, settings: dict[str, Any]) -> None:
    sent, nfe = stage(comfy, family, **settings)
    evaluations = [Evaluation(*each) for each in sent["evaluations"]]
    expected = price(evaluations, options(**settings))
    assert expected.guiding == pytest.approx(nfe) and nfe > 0
    steps = settings.get("steps", SAMPLING["steps"])
    calls = 2 * steps - 1 if settings.get("sampler_name") == "heun" else steps
    assert expected.plain == calls * (1 if settings.get("cfg") == 1.0 else 2)


def test_the_price_of_another_window_is_known_before(comfy: Server) -> None:
    sent, _ = stage(comfy, "flow", mode="posterior", steps=6)
    other = {"mode": "forward", "start_percent": 0.4, "end_percent": 0.7, "samples": 3, "steps": 6}
    _, nfe = stage(comfy, "flow", **other)
    assert price([Evaluation(*each) for each in sent["evaluations"]], options(**other)).guiding == pytest.approx(nfe)


def test_curves_and_map_are_sent(comfy: Server) -> None:
    sent, _ = stage(comfy, "eps", mode="posterior", start_percent=0.3, steps=5)
    assert len(sent["curves"]) == 2 and all(len(curve) == len(sent["places"]) for curve in sent["curves"])
    assert 0 < len(sent["places"]) < len(sent["evaluations"]) == 5
    assert all(score > 0 for curve in sent["curves"] for score in curve)
    m = sent["map"]
    levels = np.frombuffer(comfy.fetch_output(m["file"]), "<u2")
    assert levels.size == m["width"] * m["height"] == 64 and levels.max() == 65535


def test_strength_zero_sends_no_curve(comfy: Server) -> None:
    sent, _ = stage(comfy, "eps", strength=0.0, steps=5)
    assert (sent["places"], sent["curves"], sent["map"], len(sent["evaluations"])) == ([], [], None, 5)


def test_a_patched_model_tells_the_page_that_queued_it(comfy: Server) -> None:
    s = scene("eps", batch=1, scale=1.0, salt=81)
    guided, node = guidance(s, mode="posterior")
    s.graph.node("UQTest_SaveLatent", name="guided", latent=ksampler(guided, steps=4))
    with Events(comfy) as events:
        history = comfy.run(s.graph, client_id=events.client_id)
        told = events.wait_for("uncertainty.guided")
    assert [message["node"] for message in told] == [str(node)]
    assert len(told[0]["stage"]["evaluations"]) == 4 and told[0]["kind"] == "UQ_UncertaintyGuidance"
    assert history.outputs[str(node)]["uq_stage"] == [{"stage": told[0]["stage"]}], "what it shows is filled when the run has ended"
