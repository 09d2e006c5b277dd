"""Counts, seeds, images set aside and the verdict for other programs, on a real ComfyUI."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfy_client import PromptFailed
from comfy_graph import Graph
from comfy_server import Server

NAMES = ["accepted", "rejected", "latents", "rest", "masks", "scores", "accepted_indexes", "any", "unsure", "rejected_indexes"]
NAMES += ["unsure_indexes", "accepted_count", "rejected_count", "accepted_seeds", "rejected_seeds", "yes", "no", "verdict"]


def filtered(comfy: Server, scores: str = "0.4,0.1,0.3,0.2", seeds: str = "", images: bool = True, **options: Any) -> dict[str, Any]:
    """The value of each output that runs, and what the node shows."""
    g = Graph()
    scored = g.node("UQTest_Uncertainty", scores=scores, direction="high_is_bad", frames=0, salt=0)
    batch = g.node("UQTest_NumberedImages", first=0, count=len(scores.split(",")), size=16) if images else None
    wired = g.node("UQTest_Ints", values=seeds) if seeds else None
    kept = g.node("UQ_SampleFilter", uncertainty=scored, images=batch, seeds=wired, **{"rule": "keep_best_count", "value": 2.0} | options)
    readers = {name: g.node("UQTest_SaveValue", value=kept[i]) for i, name in enumerate(NAMES)}
    history = comfy.run(g)
    found = {name: comfy.value(history, node) for name, node in readers.items() if str(node) in history.outputs}
    return found | {"shown": history.outputs[str(kept)]}


def test_counts_and_indexes_of_both_sides(comfy: Server) -> None:
    found = filtered(comfy)
    assert (found["accepted_count"], found["rejected_count"]) == ([2], [2])
    assert (found["accepted_indexes"], found["rejected_indexes"], found["unsure_indexes"]) == (["1,3"], ["0,2"], [""])
    assert "unsure" not in found and "accepted_seeds" not in found


@pytest.mark.parametrize(("seeds", "kept", "dropped"), [("5,6,7,8", [6, 8], [5, 7]), ("9", [9, 9], [9, 9])])
def test_seeds_go_with_their_images(comfy: Server, seeds: str, kept: list[int], dropped: list[int]) -> None:
    found = filtered(comfy, seeds=seeds)
    assert (found["accepted_seeds"], found["rejected_seeds"]) == (kept, dropped)


def test_another_number_of_seeds_is_refused(comfy: Server) -> None:
    with pytest.raises(PromptFailed, match="seeds must be one for each of the 4 images, or one for all, got 3"):
        filtered(comfy, seeds="1,2,3")


def test_borderline_images_are_set_aside(comfy: Server) -> None:
    found = filtered(comfy, borderline="set_aside", band=15.0)
    assert (found["accepted_indexes"], found["rejected_indexes"], found["unsure_indexes"]) == (["1"], ["0"], ["2,3"])
    assert found["unsure"][0]["shape"] == [2, 16, 16, 3]
    assert found["shown"]["uq_report"][0]["unsure"] == [2, 3]
    assert "1 of 4 accepted, 2 set aside" in found["shown"]["uq_report"][0]["title"]
    assert found["shown"]["text"][2].startswith("Unsure near the line: score 0.3, rank 3 of 4")


def test_the_verdict_tells_programs_what_was_decided_and_why(comfy: Server) -> None:
    found = filtered(comfy, scores="0.4,nan,0.3,0.2", seeds="5,6,7,8", borderline="set_aside", band=13.0)
    (text,) = found["verdict"]
    verdicts = json.loads(text)
    assert verdicts == found["shown"]["uq_verdict"]
    assert [v["accepted"] for v in verdicts] == [None, False, None, True]
    assert verdicts[1]["score"] is None and verdicts[1]["why"].endswith("a score is not a finite number.")
    assert verdicts[3] == verdicts[3] | {"image": 3, "path": None, "quantity": "denoised", "direction": "high_is_bad", "seed": 8}
    assert verdicts[3]["score"] == pytest.approx(0.2) and verdicts[3]["why"] == "Accepted: score 0.2, rank 1 of 4, among the best 2."


def test_without_images_nothing_is_asked_and_the_rule_decides(comfy: Server) -> None:
    found = filtered(comfy, images=False, borderline="review")
    assert found["accepted_indexes"] == ["1,3"] and (found["yes"], found["no"]) == ([""], [""])
    assert found["shown"]["text"][-1] == "Review of 2 borderline images: connect images to see them."
    assert found["shown"]["uq_report"][0]["thumbnails"] is None


def test_a_bad_choice_is_refused_in_words(comfy: Server) -> None:
    with pytest.raises(Exception, match="borderline"):
        filtered(comfy, borderline="perhaps")
