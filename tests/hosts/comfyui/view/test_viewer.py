"""What Uncertainty Heatmap sends to its viewer: files that a page can fetch, from which it draws what the node gives out."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_client import History, PromptFailed
from comfy_graph import Graph, Node
from comfy_server import Server

DEFAULTS = {"opacity": 0.6, "colormap": "inferno", "percentile": 90.0}


def result(g: Graph, scores: str, frames: int = 0, salt: int = 50, direction: str = "high_is_bad") -> Node:
    return g.node("UQTest_Uncertainty", scores=scores, direction=direction, frames=frames, salt=salt)


def images(g: Graph, count: int, first: int = 20) -> Node:
    return g.node("UQTest_NumberedImages", first=first, count=count, size=64)


def run(comfy: Server, g: Graph, **inputs: Any) -> tuple[History, Node, dict[str, Any]]:
    heat = g.node("UQ_Heatmap", **DEFAULTS | inputs)
    g.node("UQTest_SaveValue", value=heat[1])
    history = comfy.run(g)
    (view,) = history.outputs[str(heat)]["uq_heatmap"]
    return history, heat, view


def levels(comfy: Server, side: dict[str, Any]) -> np.ndarray:
    shape = len(side["pages"]), side["map"]["height"], side["map"]["width"]
    return np.frombuffer(comfy.fetch_output(side["map"]["file"]), "<u2").reshape(shape)


def size(comfy: Server, file: dict[str, str]) -> tuple[int, int]:
    return Image.open(io.BytesIO(comfy.fetch_output(file))).size


def test_pictures_maps_and_scores_are_there(comfy: Server) -> None:
    g = Graph()
    history, heat, view = run(comfy, g, uncertainty=result(g, "0.4,0.1,0.3"), images=images(g, 3), accepted_indexes="0,2")
    pages = view["main"]["pages"]
    assert [page["score"] for page in pages] == pytest.approx([0.4, 0.1, 0.3])
    assert [page["accepted"] for page in pages] == [True, False, True]
    assert view["other"] is None and view["settings"] == DEFAULTS
    planes = levels(comfy, view["main"])
    assert [np.unravel_index(plane.argmax(), plane.shape) for plane in planes] == [(0, 0), (1, 1), (2, 2)]
    assert {size(comfy, page["picture"]) for page in pages} == {(64, 64)}
    assert [size(comfy, file) for file in history.outputs[str(heat)]["images"]] == [(64, 64)] * 3


def test_what_it_is_compared_with_comes_along(comfy: Server) -> None:
    g = Graph()
    other = {"compare_uncertainty": result(g, "2,3", salt=51), "compare_images": images(g, 2, 60)}
    _, _, view = run(comfy, g, uncertainty=result(g, "0.4,0.1", direction="low_is_bad"), images=images(g, 2), **other)
    assert (view["main"]["sign"], view["other"]["sign"]) == (-1, 1)
    assert [page["score"] for page in view["other"]["pages"]] == [2, 3]


def test_images_alone_can_be_compared_with(comfy: Server) -> None:
    g = Graph()
    _, _, view = run(comfy, g, uncertainty=result(g, "0.4,0.1"), images=images(g, 2), compare_images=images(g, 3, 60))
    assert view["other"]["map"] is None and len(view["other"]["pages"]) == 3


def test_frames_of_videos_are_pages(comfy: Server) -> None:
    g = Graph()
    _, _, view = run(comfy, g, uncertainty=result(g, "1,nan", frames=3), images=images(g, 18))
    pages = view["main"]["pages"]
    assert [(page["image"], page["frame"]) for page in pages] == [(v, f) for v in (0, 1) for f in range(9)]
    assert pages[-1]["score"] is None


def test_many_pictures_are_thinned_out(comfy: Server) -> None:
    g = Graph()
    _, _, view = run(comfy, g, uncertainty=result(g, ",".join(["1"] * 70)))
    assert len(view["main"]["pages"]) == 64 and view["main"]["count"] == 70
    assert "picture" not in view["main"]["pages"][0]


def test_images_that_do_not_belong_to_the_other_result_are_refused(comfy: Server) -> None:
    g = Graph()
    with pytest.raises(PromptFailed, match="compare_images and compare_uncertainty don't fit: The map describes 2 images, but 3"):
        run(comfy, g, uncertainty=result(g, "1,2"), compare_uncertainty=result(g, "1,2", salt=52), compare_images=images(g, 3))
