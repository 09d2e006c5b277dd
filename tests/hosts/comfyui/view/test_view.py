"""Heatmap and Report on a real ComfyUI."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comfy_client import PromptFailed
from comfy_graph import Graph, Node
from comfy_server import Server


def result(g: Graph, scores: str = "0.4,0.1,0.3,0.2", frames: int = 0, salt: int = 0) -> Node:
    return g.node("UQTest_Uncertainty", scores=scores, direction="high_is_bad", frames=frames, salt=salt)


def picture(comfy: Server, file: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(comfy.fetch_output(file))))


def heatmap(g: Graph, uncertainty: Node, **having: object) -> Node:
    return g.node("UQ_Heatmap", **{"uncertainty": uncertainty, "opacity": 0.6, "colormap": "inferno", "percentile": 90.0, **having})


def test_the_unsure_pixel_is_bright_and_masked(comfy: Server) -> None:
    g = Graph()
    images = g.node("UQTest_NumberedImages", first=20, count=4, size=64)
    heat = heatmap(g, result(g), images=images, opacity=1.0)
    saved = g.node("SaveImage", images=heat, filename_prefix="heat")
    masked = g.node("SaveImage", images=g.node("MaskToImage", mask=heat[1]), filename_prefix="mask")
    shapes = [g.node("UQTest_SaveValue", value=heat[i]) for i in (0, 1)]
    history = comfy.run(g)
    assert [comfy.value(history, node)[0]["shape"] for node in shapes] == [[4, 64, 64, 3], [4, 64, 64]]
    for i in range(4):
        colours, mask = (picture(comfy, history.outputs[str(node)]["images"][i]) for node in (saved, masked))
        at = np.unravel_index(colours.sum(-1).argmax(), colours.shape[:2])
        assert abs(at[0] - (8 * i + 3.5)) <= 4 and abs(at[1] - (8 * i + 3.5)) <= 4
        assert mask[at][0] == 255 and 0 < mask.mean() / 255 <= 0.1


@pytest.mark.parametrize(("opacity", "equal"), [(0.0, True), (0.3, False)])
def test_opacity_zero_is_the_image(comfy: Server, opacity: float, equal: bool) -> None:
    g = Graph()
    images = g.node("UQTest_NumberedImages", first=30 + equal, count=2, size=32)
    heat = heatmap(g, result(g, "1,2"), images=images, opacity=opacity)
    before, after = (g.node("UQTest_SaveValue", value=value) for value in (images, heat))
    history = comfy.run(g)
    assert (comfy.value(history, before) == comfy.value(history, after)) is equal


@pytest.mark.parametrize(("frames", "count", "shape"), [(0, 0, [2, 8, 8, 3]), (3, 0, [6, 8, 8, 3]), (3, 18, [18, 16, 16, 3])])
def test_maps_without_images_and_maps_of_videos(comfy: Server, frames: int, count: int, shape: list[int]) -> None:
    g = Graph()
    images = g.node("UQTest_NumberedImages", first=0, count=count, size=16) if count else None
    heat = heatmap(g, result(g, "1,2", frames), images=images)
    shapes = [g.node("UQTest_SaveValue", value=heat[i]) for i in (0, 1)]
    history = comfy.run(g)
    assert [comfy.value(history, node)[0]["shape"] for node in shapes] == [shape, shape[:3]]


def test_images_of_another_batch_are_refused_in_words(comfy: Server) -> None:
    g = Graph()
    images = g.node("UQTest_NumberedImages", first=0, count=3, size=16)
    g.node("UQTest_SaveValue", value=heatmap(g, result(g), images=images))
    with pytest.raises(PromptFailed, match="The map describes 4 images, but 3 images came with it"):
        comfy.run(g)


@pytest.mark.parametrize("filtered", [True, False])
def test_a_report_is_shown_and_written(comfy: Server, filtered: bool) -> None:
    g = Graph()
    scored = result(g, salt=11 + filtered)
    kept = g.node("UQ_SampleFilter", uncertainty=scored, rule="keep_best_count", value=2.0) if filtered else None
    report = g.node("UQ_Report", uncertainty=scored, accepted_indexes=kept[6] if kept else None)
    history = comfy.run(g)
    shown = history.outputs[str(report)]
    (summary,) = shown["uq_report"]
    assert picture(comfy, shown["images"][0]).shape == (680, 1440, 4)
    assert summary["accepted"] == ([1, 3] if filtered else None)
    assert summary["line"] == (pytest.approx(0.25) if filtered else None)
    assert summary["title"] == "denoised, high = unsure | 4 images | 5 model calls per image | 0.5 s"
    written, listed = (Path(name) for name in shown["text"])
    assert written.parent == comfy.base / "output" / "uncertainty"
    assert json.loads(written.read_text()) == {k: v for k, v in summary.items() if k != "title"}
    rows = list(csv.DictReader(listed.read_text().splitlines()))
    assert [float(row["score"]) for row in rows] == pytest.approx([0.4, 0.1, 0.3, 0.2])
    assert [row["accepted"] for row in rows] == (["no", "yes", "no", "yes"] if filtered else [""] * 4)


def test_reports_are_numbered_and_none_is_overwritten(comfy: Server) -> None:
    names = []
    for salt in (21, 22):
        g = Graph()
        report = g.node("UQ_Report", uncertainty=result(g, salt=salt))
        names.append(comfy.run(g).outputs[str(report)]["text"])
    assert len({*names[0], *names[1]}) == 4
    assert not list((comfy.base / "output" / "uncertainty").glob(".*"))


def test_an_unmeasured_score_is_no_broken_json(comfy: Server) -> None:
    g = Graph()
    report = g.node("UQ_Report", uncertainty=result(g, "nan,0.1"))
    (summary,) = comfy.run(g).outputs[str(report)]["uq_report"]
    assert summary["scores"] == [None, pytest.approx(0.1)]


def test_indexes_that_are_none_are_refused_in_words(comfy: Server) -> None:
    g = Graph()
    scored = result(g)
    other = g.node("UQ_SampleFilter", uncertainty=result(g, "1,2,3,4,5"), rule="keep_best_count", value=5.0)
    g.node("UQ_Report", uncertainty=scored, accepted_indexes=other[6])
    with pytest.raises(PromptFailed, match="accepted_indexes must be numbers from 0 to 3 with commas between, got '0,1,2,3,4'"):
        comfy.run(g)
