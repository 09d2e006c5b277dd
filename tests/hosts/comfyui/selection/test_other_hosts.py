"""A calibration that the command line made of the demo model judges its images on a real ComfyUI too, which calls the sampler otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from bad_items import run
from comfy_client import PromptFailed
from comfy_graph import Graph, Node
from comfy_searches import BEST
from comfy_server import Server
from comfy_uncertainty import SAMPLING
from uncertainty_nodes.core.options import InformationOptions
from uncertainty_nodes.core.selection.calibration import Calibration

STEPS, IMAGES = 6, 8
pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy


@pytest.fixture(scope="module")
def folder(comfy: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ComfyUI finds the files "finished" and "halfway"."""
    out, files = tmp_path_factory.mktemp("drawn"), comfy.base / "output" / "uncertainty" / "calibration"
    assert run("generate", "--out", out, "-n", IMAGES, "--class", 3, "--steps", STEPS, "--early-at", 0.5) == 0
    assert run("calibrate", out, "--out", files / "finished.safetensors") == 0
    assert run("calibrate", out, "--early", "--out", files / "halfway.safetensors") == 0
    return files


def draw(g: Graph, steps: int = STEPS, **options: object) -> Node:
    """Several digits by the mode stop, with a limit."""
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=1)
    wires = {"model": demo, "positive": demo[1], "negative": demo[2], "latent_image": demo[4]}
    halfway = g.node("UQ_LoadCalibration", name="halfway")
    search = BEST | {"candidates": IMAGES, "keep": IMAGES, "scorer": "information", "mode": "stop"}
    return g.node(
        "UQ_BestOfN", **wires, calibration=halfway, **SAMPLING | {"cfg": 1.0, "sampler_name": "ddim"} | search | {"steps": steps} | options
    )


def test_images_are_stopped_and_kept_by_it(comfy: Server, folder: Path) -> None:
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=3, batch_size=1)
    best = draw(g)
    asked = InformationOptions()
    inputs = {"samples": asked.draws.samples, "levels": asked.levels, "seed": 0}
    inputs |= {"start_percent": asked.window.start, "end_percent": asked.window.end}
    told = g.node("UQ_PromptInformation", model=demo, positive=demo[1], negative=demo[2], latent=best, **inputs)
    finished = g.node("UQ_LoadCalibration", name="finished")
    kept = g.node("UQ_SampleFilter", uncertainty=told[1], rule="calibrated", value=50.0, calibration=finished)
    report, accepted = (g.node("UQTest_SaveValue", value=node) for node in (best[2], kept[6]))
    history = comfy.run(g)
    median = Calibration.load(folder / "halfway.safetensors").threshold_at(50)
    text = comfy.value(history, report)[0]
    assert f"the limit of {IMAGES} earlier scores" in text or f"{median:.4g}" in text, text
    assert isinstance(comfy.value(history, accepted)[0], str)


def test_what_every_host_calls_alike_must_be_the_same(comfy: Server, folder: Path) -> None:
    g = Graph()
    g.node("UQTest_SaveValue", value=draw(g, steps=STEPS + 1)[2])
    with pytest.raises(PromptFailed, match=f"made with steps '{STEPS}', but scores made with steps '{STEPS + 1}'"):
        comfy.run(g)
