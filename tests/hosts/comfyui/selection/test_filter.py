"""Sample Filter on a real ComfyUI: aligned sides, silent empty sides, and no sampling for a new threshold."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_client import History, PromptFailed, PromptRefused
from comfy_events import Events
from comfy_graph import Graph, Node
from comfy_server import Server
from uncertainty_nodes.core.view.notes import parse_notes
from uncertainty_nodes.core.view.notes.looks import look_of, notes_of_image

SCORES = "0.4,0.1,0.3,0.2"


class Filtered:
    """A filter on four numbered images, with a reader on each output; ``read`` gives None where a reader did not run."""

    NAMES = ("accepted", "rejected", "accepted_latents", "rejected_latents", "accepted_masks", "scores", "indexes", "any")

    def __init__(self, rule: str = "drop_worst_percent", value: float = 50.0, scores: str = SCORES, salt: int = 0, **wires: Any) -> None:
        self.graph = g = Graph()
        self.scored = g.node("UQTest_Uncertainty", scores=scores, direction="high_is_bad", frames=0, salt=salt)
        count = len(scores.split(","))
        given = {
            "uncertainty": self.scored,
            "images": g.node("UQTest_NumberedImages", first=0, count=count, size=16),
            "latents": g.node("UQTest_RandomLatent", seed=0, batch=count, channels=4, frames=0, height=8, width=8, scale=1.0, salt=0),
            "masks": g.node("SolidMask", value=1.0, width=16, height=16),
        }
        self.filter = g.node("UQ_SampleFilter", rule=rule, value=value, **{**given, **wires})
        self.readers = {name: g.node("UQTest_SaveValue", value=self.filter[i]) for i, name in enumerate(self.NAMES)}

    def run(self, comfy: Server, **queue: Any) -> History:
        history = comfy.run(self.graph, **queue)
        self.found = {name: comfy.value(history, node) for name, node in self.readers.items() if str(node) in history.outputs}
        return history

    def shapes(self, name: str) -> list[list[int]]:
        return [entry["shape"] for entry in self.found[name]]


def test_some_are_accepted(comfy: Server) -> None:
    f = Filtered()
    f.run(comfy)
    assert f.shapes("accepted") == f.shapes("rejected") == [[2, 16, 16, 3]]
    assert f.shapes("accepted_masks") == [[2, 16, 16]]
    assert f.found["accepted_latents"] == f.found["rejected_latents"] == ["dict"]
    assert f.found["scores"] == pytest.approx([0.4, 0.1, 0.3, 0.2])
    assert (f.found["indexes"], f.found["any"]) == (["1,3"], [True])


def test_none_is_accepted_and_the_other_side_runs_in_silence(comfy: Server) -> None:
    f = Filtered("threshold", 0.05)
    saved = [f.graph.node("SaveImage", images=f.filter[i], filename_prefix="uq") for i in (0, 1)]
    with Events(comfy) as events:
        history = f.run(comfy, client_id=events.client_id)
        events.wait_for("execution_success")
        assert not events.of("execution_error")
    assert set(f.found) == {"rejected", "rejected_latents", "scores", "indexes", "any"}
    assert (f.found["indexes"], f.found["any"]) == ([""], [False])
    assert str(saved[0]) not in history.outputs
    assert len(history.outputs[str(saved[1])]["images"]) == 4
    assert history.status["status_str"] == "success"


def test_all_are_accepted_as_they_came(comfy: Server) -> None:
    f = Filtered("keep_best_count", 4.0)
    latents = [f.graph.node("UQTest_SaveLatent", latent=x, name=f"filter{i}") for i, x in enumerate((f.filter[2], Node("3")))]
    history = f.run(comfy)
    assert "rejected" not in f.found
    assert (f.found["indexes"], f.shapes("accepted")) == (["0,1,2,3"], [[4, 16, 16, 3]])
    kept, given = (comfy.latent(history, node) for node in latents)
    assert kept.keys() == given.keys() == {"samples"}
    assert kept["samples"].equal(given["samples"])


@pytest.mark.parametrize(("value", "side"), [(0.5, "accepted"), (0.05, "rejected")])
def test_a_single_image(comfy: Server, value: float, side: str) -> None:
    f = Filtered("threshold", value, scores="0.1")
    f.run(comfy)
    assert f.shapes(side) == [[1, 16, 16, 3]]
    assert {"accepted", "rejected"} & f.found.keys() == {side}


def test_latents_keep_what_belongs_to_them(comfy: Server) -> None:
    f = Filtered()
    masks = f.graph.node("MaskComposite", destination=Node("4"), source=Node("4"), x=0, y=0, operation="multiply")
    masked = f.graph.node("SetLatentNoiseMask", samples=Node("3"), mask=masks)
    f.graph[str(f.filter)]["inputs"]["latents"] = [str(masked), 0]
    saved = [f.graph.node("UQTest_SaveLatent", latent=f.filter[i], name=f"part{i}") for i in (2, 3)]
    whole = f.graph.node("UQTest_SaveLatent", latent=Node("3"), name="whole")
    history = f.run(comfy)
    kept, dropped, given = (comfy.latent(history, node) for node in (*saved, whole))
    assert kept["samples"].equal(given["samples"][[1, 3]]) and dropped["samples"].equal(given["samples"][[0, 2]])
    assert (kept["batch_index"].tolist(), dropped["batch_index"].tolist()) == ([1, 3], [0, 2])
    assert kept["noise_mask"].shape == (1, 1, 16, 16)


def test_accepted_latents_find_their_own_noise_again(comfy: Server) -> None:
    """The noise of image 2 of a batch, not that of image 0, when only image 2 is sampled again."""
    g = Graph()
    demo = g.node("UQ_LoadDemoModel", digit=4, batch_size=3)
    scored = g.node("UQTest_Uncertainty", scores="3,2,1", direction="high_is_bad", frames=0, salt=0)
    best = g.node("UQ_SampleFilter", uncertainty=scored, rule="keep_best_count", value=1.0, latents=demo[4])
    wires = {"model": demo[0], "positive": demo[1], "negative": demo[2], "seed": 5, "steps": 3, "cfg": 1.0, "denoise": 1.0}
    wires |= {"sampler_name": "euler", "scheduler": "normal"}
    done = [g.node("KSampler", latent_image=latent, **wires) for latent in (demo[4], best[2])]
    saved = [g.node("UQTest_SaveLatent", latent=latent, name=f"noise{i}") for i, latent in enumerate(done)]
    history = comfy.run(g)
    batch, alone = (comfy.latent(history, node)["samples"] for node in saved)
    assert alone.shape[0] == 1
    assert (alone[0] - batch[2]).abs().max() < 1e-3 < (alone[0] - batch[0]).abs().max()


def lists(g: Graph, scores: tuple[str, str]) -> dict[str, Node]:
    """Two results and two batches of images of different size, as lists."""
    counts = [len(s.split(",")) for s in scores]
    results = [g.node("UQTest_Uncertainty", scores=s, direction="high_is_bad", frames=0, salt=0) for s in scores]
    batches = [g.node("UQTest_NumberedImages", first=10 * i, count=n, size=8 * (i + 1)) for i, n in enumerate(counts)]
    return {name: g.node("UQTest_ListOf", a=a, b=b) for name, (a, b) in {"uncertainty": results, "images": batches}.items()}


def test_lists_stay_lists(comfy: Server) -> None:
    g = Graph()
    wires = lists(g, ("0.4,0.1", "0.2,0.5,0.6"))
    kept = g.node("UQ_SampleFilter", rule="keep_best_count", value=3.0, **wires)
    sides = [g.node("UQTest_SaveValue", value=kept[i]) for i in (0, 1)]
    saved = g.node("SaveImage", images=kept[0], filename_prefix="list")
    history = comfy.run(g)
    accepted, rejected = ([entry["shape"] for entry in comfy.value(history, side)] for side in sides)
    assert accepted == [[2, 8, 8, 3], [1, 16, 16, 3]]
    assert rejected == [[2, 16, 16, 3]]
    assert len(history.outputs[str(saved)]["images"]) == 3


def test_a_list_entry_with_nothing_left_is_dropped_for_nodes_that_take_whole_lists(comfy: Server) -> None:
    g = Graph()
    kept = g.node("UQ_SampleFilter", rule="keep_best_count", value=1.0, **lists(g, ("0.4,0.1", "0.2,0.5,0.6")))
    whole = g.node("UQTest_SaveValue", value=kept[0])
    assert [entry["shape"] for entry in comfy.value(comfy.run(g), whole)] == [[1, 8, 8, 3]]


def test_another_score_joins_by_weight(comfy: Server) -> None:
    found = {}
    for weight in (0.0, 1.0):
        f = Filtered("keep_best_count", 1.0, extra_weight=weight)
        f.graph[str(f.filter)]["inputs"]["extra_scores"] = [str(f.graph.node("UQTest_Floats", values="9,1,2,3")), 0]
        f.run(comfy)
        found[weight] = f.found["indexes"]
    assert found == {0.0: ["1"], 1.0: ["0"]}


def test_a_new_threshold_runs_only_the_filter_again(comfy: Server) -> None:
    first, second = Filtered("threshold", 0.25, salt=77), Filtered("threshold", 0.35, salt=77)
    first.run(comfy)
    history = second.run(comfy)
    assert (first.found["indexes"], second.found["indexes"]) == (["1,3"], ["1,2,3"])
    assert {"1", "2", "3", "4"} <= history.cached
    assert str(second.filter) not in history.cached


def test_the_decision_is_shown_and_travels_in_the_pictures(comfy: Server) -> None:
    f = Filtered(salt=78)
    saved = f.graph.node("SaveImage", images=f.filter[0], filename_prefix="noted")
    history = f.run(comfy, extra_data={"extra_pnginfo": {"workflow": {"nodes": []}}})
    shown = history.outputs[str(f.filter)]
    assert shown.keys() == {"uq_report", "uq_verdict", "uq_kind", "uq_workflow", "text"}
    assert shown["uq_report"][0]["accepted"] == [1, 3] and "2 of 4" in shown["uq_report"][0]["title"]
    assert len(shown["text"]) == 4 and shown["text"][0].startswith("Rejected: score 0.4, rank 4 of 4")
    for image, rank, file in zip((1, 3), (1, 2), history.outputs[str(saved)]["images"], strict=True):
        png = Image.open(io.BytesIO(comfy.fetch_output(file)))
        assert "workflow" in png.info
        notes = parse_notes(png.info["uncertainty"])
        assert [note.score for note in notes] == pytest.approx([0.4, 0.1, 0.3, 0.2])
        (note,) = notes_of_image(notes, look_of(np.asarray(png) / 255))
        assert (note.image, note.accepted, note.why) == (image, True, shown["text"][image])
        assert note.percentile == 100 * (4 - rank + 1) / 4


def test_a_socket_with_nothing_to_give_says_what_to_connect(comfy: Server) -> None:
    f = Filtered(images=None)
    with Events(comfy) as events:
        history = f.run(comfy, client_id=events.client_id)
        (error, *_) = events.wait_for("execution_error")
    assert "Sample Filter has no images to give: connect images to it." in json.dumps(error)
    assert "accepted" not in f.found and f.found["indexes"] == ["1,3"]
    assert history.outputs


def test_images_that_were_not_scored_are_refused_in_words(comfy: Server) -> None:
    f = Filtered()
    f.graph["2"]["inputs"]["count"] = 3
    with pytest.raises(PromptFailed, match="There are 4 scores, but 3 images came with them; connect the images that were scored"):
        f.run(comfy)


@pytest.mark.parametrize(
    ("rule", "value", "words"),
    [
        ("no such rule", 1.0, "rule must be one of drop_worst_percent"),
        ("drop_worst_percent", 101.0, r"value \(percent\) must be between 0 and 100, got 101"),
        ("keep_best_count", -1.0, r"value \(images to keep\) must be at least 0, got -1"),
        ("threshold", float("inf"), "value must be between"),
    ],
)
def test_bad_values_are_refused_before_anything_runs(comfy: Server, rule: str, value: float, words: str) -> None:
    with pytest.raises(PromptRefused, match=words):
        Filtered(rule, value).run(comfy)


def test_a_rule_that_lacks_its_calibration_says_so(comfy: Server) -> None:
    with pytest.raises(PromptFailed, match="The rule 'calibrated' needs a calibration"):
        Filtered("calibrated", 90.0).run(comfy)


def test_different_kinds_of_scores_are_not_mixed(comfy: Server) -> None:
    g = Graph()
    results = [g.node("UQTest_Uncertainty", scores="1,2", direction=d, frames=0, salt=0) for d in ("high_is_bad", "low_is_bad")]
    mixed = g.node("UQTest_ListOf", a=results[0], b=results[1])
    kept = g.node("UQ_SampleFilter", uncertainty=mixed, rule="threshold", value=1.0)
    g.node("UQTest_SaveValue", value=kept[5])
    with pytest.raises(PromptFailed, match="different kinds of scores"):
        comfy.run(g)


def test_it_works_inside_an_expansion(comfy: Server) -> None:
    g = Graph()
    scored = g.node("UQTest_Uncertainty", scores=SCORES, direction="high_is_bad", frames=0, salt=0)
    images = g.node("UQTest_NumberedImages", first=0, count=4, size=16)
    expanded = g.node("UQTest_ExpandFilter", uncertainty=scored, images=images, value=75.0)
    readers = [g.node("UQTest_SaveValue", value=expanded[i]) for i in (0, 1)]
    history = comfy.run(g)
    assert [comfy.value(history, reader)[0]["shape"][0] for reader in readers] == [1, 3]


def test_it_works_inside_a_subgraph(comfy: Server) -> None:
    """The front-end sends what is inside of node 9 with ids that begin with "9:"."""
    f = Filtered()
    inside = {id: f"9:{id}" for id in f.graph if id not in map(str, f.readers.values())}
    f.graph = {inside.get(id, id): node for id, node in json.loads(json.dumps(f.graph)).items()}
    for node in f.graph.values():
        node["inputs"] = {k: [inside[v[0]], v[1]] if isinstance(v, list) else v for k, v in node["inputs"].items()}
    f.run(comfy)
    assert f.found["indexes"] == ["1,3"]
