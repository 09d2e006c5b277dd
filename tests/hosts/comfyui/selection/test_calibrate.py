"""Collecting scores over runs on a real ComfyUI, and filtering single images by them."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_client import PromptFailed, PromptRefused
from comfy_graph import Graph, Node
from comfy_server import Server


def result(g: Graph, scores: str, direction: str = "high_is_bad", salt: int = 0) -> Node:
    return g.node("UQTest_Uncertainty", scores=scores, direction=direction, frames=0, salt=salt)


def collect(comfy: Server, name: str, scores: str, **having: Any) -> str:
    """What Calibrate says it has."""
    g = Graph()
    calibrate = g.node("UQ_Calibrate", uncertainty=result(g, scores, **having), name=name)
    return comfy.run(g).outputs[str(calibrate)]["text"][0]


def accepted(comfy: Server, name: str, scores: str, percent: float, salt: int = 0) -> str:
    g = Graph()
    loaded = g.node("UQ_LoadCalibration", name=name)
    kept = g.node("UQ_SampleFilter", uncertainty=result(g, scores, salt=salt), rule="calibrated", value=percent, calibration=loaded)
    saved = g.node("UQTest_SaveValue", value=kept[6])
    return comfy.value(comfy.run(g), saved)[0]


def test_scores_of_many_runs_are_collected_and_judge_a_single_image(comfy: Server) -> None:
    assert collect(comfy, "many", "1,2,3,4") == "4 scores of denoised"
    assert collect(comfy, "many", "5,6,7,8") == "8 scores of denoised"
    assert "many" in comfy.object_info()["UQ_LoadCalibration"]["input"]["required"]["name"][1]["options"]
    assert accepted(comfy, "many", "4.4", 50.0) == "0"  # the middle of 1 to 8 is 4.5
    assert accepted(comfy, "many", "4.6", 50.0) == ""
    assert accepted(comfy, "many", "4.6", 90.0) == "0"


def test_a_file_that_has_grown_is_read_again(comfy: Server) -> None:
    collect(comfy, "growing", "1,1")
    assert accepted(comfy, "growing", "2", 50.0) == ""
    collect(comfy, "growing", "3,3,3,3")
    assert accepted(comfy, "growing", "2", 50.0, salt=1) == "0"


def test_files_that_people_bring_are_found_among_the_models(comfy: Server) -> None:
    collect(comfy, "brought", "1,2,3")
    place = comfy.base / "models" / "uncertainty" / "calibration" / "brought.safetensors"
    place.parent.mkdir(parents=True)
    (comfy.base / "output" / "uncertainty" / "calibration" / "brought.safetensors").rename(place)
    assert accepted(comfy, "brought", "1.5,9", 100.0) == "0"


def test_without_a_name_nothing_is_written(comfy: Server) -> None:
    before = set(comfy.base.rglob("*.safetensors"))
    assert collect(comfy, "", "1,2", salt=5) == "2 scores of denoised"
    assert set(comfy.base.rglob("*.safetensors")) == before


def test_scores_of_another_kind_are_not_mixed_in(comfy: Server) -> None:
    collect(comfy, "high", "1,2")
    with pytest.raises(PromptFailed, match=r"This calibration holds 'denoised' scores \(high_is_bad\)"):
        collect(comfy, "high", "1,2", direction="low_is_bad")
    assert accepted(comfy, "high", "1.5", 100.0) == "0"


@pytest.mark.parametrize("name", ["../outside", "a/b", ".hidden", "a\\b", "x" * 101])
def test_a_name_stays_in_its_folder(comfy: Server, name: str) -> None:
    with pytest.raises(PromptRefused, match="name must be letters"):
        collect(comfy, name, "1,2")
    with pytest.raises(PromptRefused, match="name must be letters"):
        accepted(comfy, name, "1", 50.0)


def test_a_file_that_is_not_there_is_named_before_anything_runs(comfy: Server) -> None:
    with pytest.raises(PromptRefused, match="There is no calibration named 'nowhere' in .*output/uncertainty/calibration"):
        accepted(comfy, "nowhere", "1", 50.0)


def test_a_damaged_file_is_told(comfy: Server) -> None:
    path = comfy.base / "output" / "uncertainty" / "calibration" / "damaged.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not safetensors")
    with pytest.raises(PromptFailed, match="is not a whole safetensors file"):
        accepted(comfy, "damaged", "1", 50.0)
