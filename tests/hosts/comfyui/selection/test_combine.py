"""Combine Uncertainty on a real ComfyUI: two measurements of the demo model as one, into the filter."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from comfy_client import PromptFailed, PromptRefused
from comfy_graph import Graph, Node
from comfy_server import Server
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.selection.ranks import rank_average

WINDOW = {"samples": 2, "levels": 2, "seed": 3}


def measured(g: Graph) -> tuple[Node, Any, Any]:
    """Sevens and threes in one batch, their prompt information as threes, and where the model is unsure of them."""
    drawn = []
    for digit in (7, 3):
        loaded = g.node("UQ_LoadDemoModel", digit=digit, batch_size=2)
        wires = {"model": loaded[0], "positive": loaded[1], "negative": loaded[2], "latent_image": loaded[4]}
        drawn.append(g.node("KSampler", **wires, seed=1, steps=12, cfg=1.0, sampler_name="ddim", scheduler="normal", denoise=1.0))
    both = g.node("LatentBatch", samples1=drawn[0], samples2=drawn[1])
    given = {"model": loaded[0], "positive": loaded[1], "latent": both, **WINDOW}
    information = g.node("UQ_PromptInformation", **given, negative=loaded[2], start_percent=0.45, end_percent=0.55)
    estimate = g.node("UQ_UncertaintyEstimator", **given, start_percent=0.8, end_percent=0.95, quantity="denoised")
    return both, information[1], estimate[1]


def read(g: Graph, node: Any) -> Node:
    return g.node("UQTest_SaveUncertainty", uncertainty=node)


def made(g: Graph, scores: str) -> Node:
    return g.node("UQTest_Uncertainty", scores=scores, direction="high_is_bad", frames=0, salt=0)


def test_two_measurements_are_one_for_filter_heatmap_and_report(comfy: Server) -> None:
    """Among four images a weight of 4 lets no second score overrule the first, which knows a seven from a three."""
    g = Graph()
    latents, *parts = measured(g)
    joined = g.node("UQ_CombineUncertainty", uncertainty_1=parts[0], uncertainty_2=parts[1], weight_1=4.0)
    filtered = g.node("UQ_SampleFilter", uncertainty=joined, rule="keep_best_count", value=2.0, latents=latents)
    kept, sources, saved = g.node("UQTest_SaveValue", value=filtered[6]), [read(g, part) for part in parts], read(g, joined)
    heat = g.node("UQTest_SaveValue", value=g.node("UQ_Heatmap", uncertainty=joined, opacity=1.0, colormap="viridis", percentile=90.0))
    report = g.node("UQ_Report", uncertainty=joined, accepted_indexes=filtered[6])
    history = comfy.run(g)
    found, given = comfy.value(history, saved)[0], [comfy.value(history, source)[0] for source in sources]
    assert found["scores"] == pytest.approx(expected(given, [4.0, 1.0]), abs=1e-6)
    assert (found["quantity"], found["direction"], found["maps"]["shape"]) == ("combined", "high_is_bad", given[0]["maps"]["shape"])
    assert found["nfe"] == sum(part["nfe"] for part in given)
    assert found["provenance"]["of"] == "information (low_is_bad) x 4, denoised (high_is_bad) x 1"
    assert max(given[0]["scores"][:2]) < min(given[0]["scores"][2:]) and comfy.value(history, kept) == ["2,3"]
    assert comfy.value(history, heat)[0]["shape"] == [4, 32, 32, 3] and str(report) in history.outputs


def expected(given: list[dict[str, Any]], weights: list[float]) -> list[float]:
    signs = [1.0 if part["direction"] == Direction.HIGH_IS_BAD.value else -1.0 for part in given]
    return rank_average([s * torch.tensor(part["scores"]) for s, part in zip(signs, given, strict=True)], weights).tolist()


def test_each_weight_belongs_to_its_input(comfy: Server) -> None:
    """The third is not connected: the weight of the fourth must not slip to its place."""
    g = Graph()
    wires = {f"uncertainty_{i}": made(g, scores) for i, scores in ((1, "1,2,3"), (2, "1,2,3"), (4, "3,2,1"))}
    saved = read(g, g.node("UQ_CombineUncertainty", **wires, weight_1=0.0, weight_2=1.0, weight_3=100.0, weight_4=3.0))
    assert comfy.value(comfy.run(g), saved)[0]["scores"] == [0.75, 0.5, 0.25]


def test_ranks_of_a_batch_are_no_yardstick_for_another(comfy: Server) -> None:
    g = Graph()
    g.node("UQ_Calibrate", uncertainty=g.node("UQ_CombineUncertainty", uncertainty_1=made(g, "1,2"), uncertainty_2=made(g, "2,1")), name="")
    with pytest.raises(
        PromptFailed, match="comes from Combine Uncertainty, whose scores are ranks within one batch .*: connect the results"
    ):
        comfy.run(g)


def learned(g: Graph, accepted: str, rejected: str) -> Node:
    """The first result tells good from bad, the second is no guide."""
    wires = {"uncertainty_1": made(g, "1,2,3,7,8,9,4"), "uncertainty_2": made(g, "5,1,6,2,7,3,4"), "weight_2": 5.0}
    return g.node("UQ_CombineUncertainty", **wires, accepted_indexes=accepted, rejected_indexes=rejected)


def test_weights_are_learned_from_labels_and_told(comfy: Server) -> None:
    g = Graph()
    node = learned(g, "0, 1,2", "3,4,5")
    saved, report = read(g, node), g.node("UQTest_SaveValue", value=node[1])
    history = comfy.run(g)
    found, (told,) = comfy.value(history, saved)[0], comfy.value(history, report)
    scores = found["scores"]
    assert max(scores[:3]) < min(scores[3:6])
    assert told.startswith("Weights 1, 0") and "learned from 3 accepted and 3 rejected images. Cross-validated AUROC 1.00" in told
    assert found["provenance"]["weights"] == told and history.outputs[str(node)]["text"] == [told]


@pytest.mark.parametrize(
    ("accepted", "rejected", "match"),
    [
        ("0,1,2", "", "needs 3 accepted and 3 rejected images or more, got 0 rejected"),
        ("0,1,7", "3,4,5", "accepted_indexes must be numbers from 0 to 6 with commas between, got '0,1,7'"),
        ("0,1,2", "good ones", "rejected_indexes must be numbers from 0 to 6 with commas between, got 'good ones'"),
        ("3,4,5", "0,1,2", "The labels speak against every result"),
    ],
)
def test_labels_that_teach_nothing_are_a_sentence(comfy: Server, accepted: str, rejected: str, match: str) -> None:
    g = Graph()
    read(g, learned(g, accepted, rejected))
    with pytest.raises(PromptFailed, match=match):
        comfy.run(g)


@pytest.mark.parametrize(
    ("second", "weights", "error", "match"),
    [
        ("1,2,3", {}, PromptFailed, "must be of the same images, got batches of 2, 3"),
        ("1,2", {"weight_1": 0.0, "weight_2": 0.0}, PromptFailed, "weights must be 0 or more and not all 0"),
        ("1,2", {"weight_1": -1.0}, PromptRefused, "smaller than min"),
        (None, {}, PromptRefused, "Required input is missing: uncertainty_2"),
    ],
)
def test_bad_input_is_a_sentence(comfy: Server, second: str | None, weights: dict[str, float], error: type[Exception], match: str) -> None:
    g = Graph()
    read(g, g.node("UQ_CombineUncertainty", uncertainty_1=made(g, "1,2"), uncertainty_2=second and made(g, second), **weights))
    with pytest.raises(error, match=match):
        comfy.run(g)
