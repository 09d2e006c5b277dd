"""One image that is NaN, at each place of a batch: it scores NaN, and every other image is what it would be without it."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import pytest
import torch
from PIL import Image

from comfy_bayes import bayesdiff, demo_scene, dropout, examples, fit, generative, load
from comfy_client import PromptFailed
from comfy_ensembles import ensemble, load_latents, sampled
from comfy_graph import Graph, Node
from comfy_scenes import Scene, ksampler, scene
from comfy_server import Server
from comfy_uncertainty import estimator, guidance, guided_sampler, read, record, samples, save, save_uncertainty
from uncertainty_nodes.core.last_layer.laplace import Laplace

PLACES = {1: [0], 8: [0, 3, 7]}
LEVELS = {"samples": 2, "start_percent": 0.45, "end_percent": 0.55, "levels": 2, "seed": 3}
SHORT = {"steps": 3, "denoise": 0.7, "cfg": 1.0}


def latents(s: Scene, batch: int) -> Scene:
    shape = {"batch": batch, "channels": 16, "frames": 0, "height": 8, "width": 8}
    return s.having(latent=s.graph.node("UQTest_RandomLatent", seed=3, scale=1.0, salt=0, **shape))


def spoiled(s: Scene, index: int) -> Scene:
    return s.having(latent=s.graph.node("UQTest_SpoilImage", latent=s.latent, index=index))


@pytest.mark.parametrize("batch", [1, 8])
def test_the_estimator_scores_it_nan_and_the_others_as_ever(comfy: Server, batch: int) -> None:
    s = latents(scene("flow"), batch)
    whole = save_uncertainty(s, estimator(s, s.latent)[1])
    failed = [save_uncertainty(s, estimator(s, spoiled(s, index).latent)[1]) for index in range(batch)]
    history = comfy.run(s.graph)
    expected = comfy.value(history, whole)[0]["scores"]
    for index, node in enumerate(failed):
        scores = comfy.value(history, node)[0]["scores"]
        assert math.isnan(scores.pop(index))
        assert scores == expected[:index] + expected[index + 1 :]


@pytest.mark.parametrize("batch", [1, 8])
def test_it_ranks_worst_and_is_rejected(comfy: Server, batch: int) -> None:
    s = latents(scene("flow"), batch)
    chosen = []
    for index in range(batch):
        node = estimator(s, spoiled(s, index).latent)
        kept = s.graph.node("UQ_SampleFilter", uncertainty=node[1], latents=node[0], rule="keep_best_count", value=float(batch))
        chosen.append(s.graph.node("UQTest_SaveValue", value=kept[6]))
    history = comfy.run(s.graph)
    for index, node in enumerate(chosen):
        (accepted,) = comfy.value(history, node)
        assert sorted(int(i) for i in accepted.split(",") if i) == [i for i in range(batch) if i != index]


@pytest.mark.parametrize("mode", ["posterior", "forward", "autograd"])
@pytest.mark.parametrize("batch", [1, 8])
def test_sampling_measures_and_guides_the_others_as_ever(comfy: Server, batch: int, mode: str) -> None:
    for watch in (record, lambda s: guidance(s, mode=mode)):
        s = latents(scene("flow", tokens=(7, 7)), batch)
        places = [None, *range(batch)] if mode == "posterior" else [None, batch // 2]
        runs = []
        for index in places:
            watched, patch = watch(s if index is None else spoiled(s, index))
            drawn = ksampler(watched, steps=3, denoise=0.7)
            runs.append((index, save(s, drawn), read(s, drawn, patch)))
        history = comfy.run(s.graph)
        found = [(index, samples(comfy, history, kept), comfy.value(history, told)[0]["scores"]) for index, kept, told in runs]
        _, expected, scores = found[0]
        for index, latent, measured in found[1:]:
            others = [i for i in range(batch) if i != index]
            assert torch.equal(latent[others], expected[others])
            assert latent[index].isnan().any() and math.isnan(measured[index])
            assert [measured[i] for i in others] == [scores[i] for i in others]


def flow(batch: int) -> Scene:
    return latents(scene("flow", tokens=(7, 7)), batch)


def demo(batch: int) -> Scene:
    """The demo model, which has dropout, a fit and a decoder."""
    s, _ = demo_scene(batch)
    shape = {"batch": batch, "channels": 1, "frames": 0, "height": 32, "width": 32}
    return s.having(latent=s.graph.node("UQTest_RandomLatent", seed=3, scale=1.0, salt=0, **shape))


def information(s: Scene) -> Node:
    return s.graph.node("UQ_PromptInformation", model=s.model, positive=s.positive, negative=s.negative, latent=s.latent, **LEVELS)[1]


def checklist(s: Scene) -> Node:
    prompts = s.graph.node("UQTest_ListOf", a=s.positive, b=s.negative)
    return s.graph.node("UQ_PhraseChecklist", model=s.model, latent=s.latent, conditionings=prompts, labels="a phrase", **LEVELS)[3]


def meaning(s: Scene) -> Node:
    vae = s.graph.node("UQ_LoadDemoModel", digit=3, batch_size=1)[3]
    return generative(s, load(s, "demo (bundled)"), vae, **SHORT)[2]


def variance(s: Scene) -> Node:
    return bayesdiff(s, load(s, "demo (bundled)"), sampler_name="ddim", **SHORT)[1]


MEASURES: dict[str, tuple[Callable[[int], Scene], Callable[[Scene], Node], str]] = {
    "estimator": (flow, lambda s: estimator(s, s.latent)[1], "Uncertainty Estimator"),
    "information": (flow, information, "Prompt Information"),
    "checklist": (flow, checklist, "Phrase Checklist"),
    "guided": (flow, lambda s: guided_sampler(s, **SHORT)[1], "Uncertainty-Guided Sampler"),
    "ensemble": (flow, lambda s: sampled(s, ensemble(s, s.positive, s.negative), **SHORT)[1], "Ensemble Uncertainty"),
    "dropout": (demo, lambda s: dropout(s, s.latent)[1], "Dropout Uncertainty"),
    "generative": (demo, meaning, "Generative Uncertainty"),
    "bayesdiff": (demo, variance, "BayesDiff Uncertainty"),
}


@pytest.mark.parametrize("batch", PLACES)
@pytest.mark.parametrize("name", MEASURES)
def test_every_node_that_measures_names_it_and_measures_the_others_as_ever(comfy: Server, name: str, batch: int) -> None:
    make, measure, title = MEASURES[name]
    s, log = make(batch), len(comfy.log())
    whole = save_uncertainty(s, measure(s))
    failed = [(place, save_uncertainty(s, measure(spoiled(s, place)))) for place in PLACES[batch]]
    history = comfy.run(s.graph)
    expected = comfy.value(history, whole)[0]
    for place, node in failed:
        told = comfy.value(history, node)[0]
        assert math.isnan(told["scores"][place])
        for column in ("scores", "total"):
            assert told[column][:place] + told[column][place + 1 :] == expected[column][:place] + expected[column][place + 1 :]
        which = "The image failed" if batch == 1 else f"Image {place + 1} of 8 failed"
        assert f"{title}: {which}: the model gave values that are not finite (NaN)." in comfy.log()[log:]


@pytest.mark.parametrize("place", PLACES[8])
def test_a_laplace_fit_leaves_it_out_and_says_so(comfy: Server, place: int) -> None:
    whole = torch.randn((8, 16, 8, 8), generator=torch.Generator().manual_seed(4))
    broken, rest = whole.clone(), torch.cat([whole[:place], whole[place + 1 :]])
    broken[place] = torch.nan
    s, log = scene("flow"), len(comfy.log())
    for name, data in (("with", broken), ("without", rest)):
        laplace = fit(s, load_latents(comfy, s, f"fit_{name}_{place}", data), batch_size=3)
        s.graph.node("UQ_SaveLaplace", laplace=laplace, name=f"{name}_{place}")
    comfy.run(s.graph)
    folder = comfy.base / "output" / "uncertainty" / "laplace"
    one, other = (Laplace.load(folder / f"{name}_{place}.safetensors") for name in ("with", "without"))
    assert one.samples == other.samples == 7 and torch.equal(one.curvature.squares, other.curvature.squares)
    assert f"Fit Last-Layer Laplace leaves out number {place + 1} of 8 latents, which give NaN" in comfy.log()[log:]


def test_a_laplace_fit_of_nothing_else_is_refused_in_words(comfy: Server) -> None:
    s = scene("flow")
    latent = s.graph.node("UQTest_SpoilImage", latent=examples(s, 16, batch=2), index=1)
    s.graph.node("UQ_SaveLaplace", laplace=fit(s, latent), name="never")
    with pytest.raises(PromptFailed, match="at least 2 latents that give no NaN or infinite values, got 1 of 2"):
        comfy.run(s.graph)


def scored(g: Graph, *scores: float) -> Node:
    return g.node("UQTest_Uncertainty", scores=",".join(map(str, scores)), direction="high_is_bad", frames=0, salt=61)


@pytest.mark.parametrize("place", PLACES[8])
def test_filter_report_and_calibration_go_on_without_it(comfy: Server, place: int) -> None:
    g = Graph()
    scores = [0.1 * (i + 1) for i in range(8)]
    scores[place] = math.nan
    u = scored(g, *scores)
    kept = g.node("UQ_SampleFilter", uncertainty=u, rule="keep_best_count", value=8.0)
    report = g.node("UQ_Report", uncertainty=u, accepted_indexes=kept[6])
    calibrated = g.node("UQ_Calibrate", uncertainty=u, name="")
    history = comfy.run(g)
    for node in (kept, report):
        (shown,) = history.outputs[str(node)]["uq_report"]
        assert shown["failed"].startswith(f"Image {place + 1} of 8 failed: ")
        assert shown["accepted"] == [i for i in range(8) if i != place] and shown["ranks"][place] == 8
    assert history.outputs[str(calibrated)]["text"][0] == "7 scores of denoised"


def test_a_joined_result_ranks_the_others_as_if_it_were_not_there(comfy: Server) -> None:
    g = Graph()
    pairs = [((0.1, math.nan, 0.3), (0.3, 0.2, 0.1)), ((0.1, 0.3), (0.3, 0.1))]
    joined = [g.node("UQ_CombineUncertainty", uncertainty_1=scored(g, *a), uncertainty_2=scored(g, *b), weight_2=2.0) for a, b in pairs]
    told = [g.node("UQTest_SaveUncertainty", uncertainty=node) for node in joined]
    history = comfy.run(g)
    first, second = (comfy.value(history, node)[0] for node in told)
    assert math.isnan(first["scores"].pop(1)) and first["scores"] == second["scores"]
    assert first["provenance"]["failed"].startswith("Image 2 of 3 failed")


@pytest.mark.parametrize("place", PLACES[8])
def test_its_heatmap_is_bright_and_the_others_are_as_ever(comfy: Server, place: int) -> None:
    s, drawn = flow(8), []
    for source in (s, spoiled(s, place)):
        measured = estimator(source, source.latent)
        pictures = [measured[2], s.graph.node("UQ_Heatmap", uncertainty=measured[1], opacity=0.5, colormap="gray", percentile=90.0)]
        drawn.append([s.graph.node("SaveImage", images=node, filename_prefix=f"failed_heatmap_{place}") for node in pictures])
    history = comfy.run(s.graph)
    for whole, failed in zip(*drawn, strict=True):
        before, after = (history.outputs[str(node)]["images"] for node in (whole, failed))
        for i, (one, other) in enumerate(zip(before, after, strict=True)):
            assert (pixels(comfy.fetch_output(one)) == pixels(comfy.fetch_output(other))) == (i != place)
    assert set(pixels(comfy.fetch_output(after[place]))) == {255}


def pixels(png: bytes) -> bytes:
    return Image.open(io.BytesIO(png)).tobytes()
