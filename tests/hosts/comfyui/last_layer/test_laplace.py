"""Fitting, saving and loading a Laplace posterior on a real ComfyUI."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from comfy_bayes import bayesdiff, demo_scene, demo_training, examples, fit, load
from comfy_client import PromptFailed, PromptRefused
from comfy_events import Events
from comfy_scenes import FAMILIES, Scene, scene, text
from comfy_server import Server
from uncertainty_nodes.core.demo.extractor import load_reference
from uncertainty_nodes.core.last_layer.fit import fit_last_layer as core_fit
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.options import LaplaceOptions

LATENT = {"batch": 3, "channels": 16, "frames": 0, "height": 8, "width": 8}


def saved(comfy: Server, s: Scene, laplace: object, name: str) -> Laplace:
    """What Save Last-Layer Laplace has written."""
    s.graph.node("UQ_SaveLaplace", laplace=laplace, name=name)
    comfy.run(s.graph)
    return Laplace.load(comfy.base / "output" / "uncertainty" / "laplace" / f"{name}.safetensors")


@pytest.mark.parametrize("covariance", ["diagonal", "kronecker"])
def test_a_fit_is_the_one_made_without_comfyui(comfy: Server, covariance: str) -> None:
    s, demo = demo_scene()
    found = saved(comfy, s, fit(s, demo[5], covariance=covariance, draws=2, batch_size=16), f"demo_{covariance}")
    network, training = demo_training(3)
    reference = load_reference()
    digits = reference.images[reference.labels == 3]
    options = LaplaceOptions(covariance=found.options.covariance, draws=2, seed=5)
    expected = core_fit(network, training, [(part, None) for part in digits.split(16)], options)
    assert found.identity == expected.identity and found.samples == expected.samples == len(digits)
    assert found.options == options
    for name, value in expected.curvature.tensors().items():
        torch.testing.assert_close(found.curvature.tensors()[name], value, rtol=1e-3, atol=1e-6 * float(value.abs().max()))


LAST = {"eps": "out.2", "v": "out.2", "edm": "out.2", "flow": "final_layer.linear", "flux": "final_layer.linear", "video": "head.head"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_model_is_fitted_at_its_last_layer(comfy: Server, family: str) -> None:
    s = scene(family)
    shape = {"batch": 3, "channels": FAMILIES[family].channels, "frames": FAMILIES[family].frames, "height": 8, "width": 8}
    latents = s.graph.node("UQTest_RandomLatent", seed=2, scale=1.0, salt=0, **shape)
    found = saved(comfy, s, fit(s, latents, batch_size=2), f"family_{family}")
    assert found.identity.name == LAST[family] and found.samples == 3
    assert found.curvature.squares.isfinite().all() and bool((found.curvature.squares > 0).all())


def test_seed_and_place_decide_the_noise_not_the_batch_size_or_the_list(comfy: Server) -> None:
    found = []
    for batch_size in (1, 4):
        s = scene("flow")
        parts = [s.graph.node("UQTest_RandomLatent", seed=seed, scale=1.0, salt=0, **LATENT) for seed in (1, 2)]
        latents = s.graph.node("UQTest_ListOf", a=parts[0], b=parts[1])
        found.append(saved(comfy, s, fit(s, latents, batch_size=batch_size, draws=2), f"batch_{batch_size}"))
    assert found[0].samples == found[1].samples == 6
    torch.testing.assert_close(found[0].curvature.squares, found[1].curvature.squares, rtol=1e-3, atol=0)


def test_each_latent_of_a_list_may_have_its_own_prompt(comfy: Server) -> None:
    """Two lists of prompts for the same two latents: swapped prompts are another fit, a prompt for all is one prompt twice."""
    sums = {}
    for order in ((1, 2), (2, 1), (1, 1), (1,)):
        s = scene("flow")
        parts = [s.graph.node("UQTest_RandomLatent", seed=seed, scale=1.0, salt=0, **LATENT) for seed in (1, 2)]
        prompts = [text(s.graph, "flow", seed) for seed in order]
        positive = s.graph.node("UQTest_ListOf", **dict(zip("ab", prompts, strict=False)))
        latents = s.graph.node("UQTest_ListOf", a=parts[0], b=parts[1])
        name = "prompts_" + "_".join(map(str, order))
        sums[order] = saved(comfy, s, fit(s.having(positive=positive), latents), name).curvature.squares
    assert torch.equal(sums[1, 1], sums[(1,)])
    assert not torch.allclose(sums[1, 2], sums[2, 1], rtol=1e-3) and not torch.allclose(sums[1, 2], sums[1, 1], rtol=1e-3)


def test_each_sample_of_a_batch_keeps_its_row_of_the_prompt(comfy: Server) -> None:
    sums = []
    for batch_size in (3, 2):  # parts of two begin with the rows 0, 2 and 1 of the prompt
        s = scene("flow")
        sizes = {"tokens": 7, "width": FAMILIES["flow"].width, "pooled": FAMILIES["flow"].pooled, "batch": 3}
        rows = s.having(positive=s.graph.node("UQTest_Conditioning", seed=1, **sizes))
        sums.append(saved(comfy, s, fit(rows, examples(s, 16, batch=6), batch_size=batch_size), f"rows_{batch_size}").curvature.squares)
    torch.testing.assert_close(sums[0], sums[1], rtol=1e-3, atol=0)


def test_cost_is_told_before_and_counted_while_it_runs(comfy: Server) -> None:
    s, log = scene("flow"), len(comfy.log())
    counted = s.graph.node("UQTest_CountCalls", model=s.model)
    made = fit(s.having(model=counted), examples(s, 16, batch=6, seed=77), draws=3, batch_size=4)
    calls = s.graph.node("UQTest_ReadCalls", calls=counted[1], after=made)
    with Events(comfy) as events:
        history = comfy.run(s.graph, client_id=events.client_id)
        events.wait_for("execution_success")
    assert history.outputs[str(calls)]["all_rows"] == [4, 4, 4, 2, 2, 2]
    assert "6 samples x 3 draws = 18 model calls" in comfy.log()[log:]
    told = events.of("progress")
    assert {p["max"] for p in told} == {18} and [p["value"] for p in told][-1] == 18


def refused(comfy: Server, s: Scene, laplace: object, sentence: str, error: type[Exception] = PromptFailed) -> None:
    s.graph.node("UQ_SaveLaplace", laplace=laplace, name="never")
    with pytest.raises(error, match=sentence):
        comfy.run(s.graph)
    assert not (comfy.base / "output" / "uncertainty" / "laplace" / "never.safetensors").exists()


def test_what_cannot_be_fitted_is_one_sentence(comfy: Server) -> None:
    s = scene("flow")
    refused(comfy, s, fit(s, examples(s, 16, batch=1)), "latents must hold at least 2 training samples for a Laplace fit, got 1; encode")
    s = scene("flow")
    refused(comfy, s, fit(s, s.latent), "latent is empty: connect the output of a sampler")
    s = scene("flow")
    refused(comfy, s, fit(s, examples(s, 4)), "latent has 4 channels, but the model wants 16")
    s = scene("flow")
    broken = examples(s, 16)
    for _ in range(39):  # beyond what float32 holds
        broken = s.graph.node("LatentMultiply", samples=broken, multiplier=10.0)
    refused(comfy, s, fit(s, broken), "needs at least 2 latents that give no NaN or infinite values, got 0 of 6")
    s = scene("flow")
    both = s.graph.node("ConditioningCombine", conditioning_1=s.positive, conditioning_2=s.negative)
    refused(
        comfy, s, fit(s.having(positive=both), examples(s, 16)), "positive must be one prompt for the whole image .* got one with 2 parts"
    )
    s = scene("flow")
    early = s.graph.node("ConditioningSetTimestepRange", conditioning=s.positive, start=0.0, end=0.3)
    refused(comfy, s, fit(s.having(positive=early), examples(s, 16)), "got one with timestep_start and timestep_end")
    s = scene("flow")
    refused(comfy, s, fit(s, examples(s, 16), layer="nowhere"), "layer must name a convolution or linear layer, got 'nowhere'")
    s = scene("flow")
    refused(comfy, s, fit(s, examples(s, 16), layer="x_embedder.proj"), "layer 'x_embedder.proj' is not the last of this model")


@pytest.mark.parametrize(("options", "sentence"), [({"covariance": "full"}, "covariance"), ({"prior_precision": 0.0}, "prior_precision")])
def test_bad_options_are_refused_before_anything_runs(comfy: Server, options: dict[str, object], sentence: str) -> None:
    s = scene("flow")
    refused(comfy, s, fit(s, examples(s, 16), **options), sentence, PromptRefused)


def test_a_layer_can_be_named(comfy: Server) -> None:
    s = scene("flow")
    found = saved(comfy, s, fit(s, examples(s, 16), layer=" final_layer.linear "), "named")
    assert found.identity.name == "final_layer.linear" and found.identity.layer == "Linear 64x128"


def test_a_file_is_found_refused_when_missing_and_told_when_damaged(comfy: Server) -> None:
    s = scene("flow")
    kept = saved(comfy, s, fit(s, examples(s, 16)), "kept")
    folder = comfy.base / "output" / "uncertainty" / "laplace"
    assert "kept" in comfy.object_info()["UQ_LoadLaplace"]["input"]["required"]["name"][1]["options"]
    for options, name in (({}, "again"), ({"prior_precision": 7.0, "noise_variance": 3.0}, "another"), ({"prior_precision": 1e30}, "none")):
        s = scene("flow")
        found = saved(comfy, s, load(s, "kept", **options), name)
        assert found.identity == kept.identity and torch.equal(found.curvature.squares, kept.curvature.squares)
        assert found.options == replace(kept.options, **options) or (name, found.options.prior_precision) == ("none", math.inf)
    whole = (folder / "kept.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    s = scene("flow")
    refused(comfy, s, load(s, "cut"), "is not a whole safetensors file")
    s = scene("flow")
    sentence = "There is no laplace named 'nowhere' in .*output/uncertainty/laplace"
    refused(comfy, s, load(s, "nowhere"), sentence, PromptRefused)
    s = scene("flow")
    s.graph.node("UQ_SaveLaplace", laplace=fit(s, examples(s, 16)), name="../outside")
    with pytest.raises(PromptRefused, match="name must be letters"):
        comfy.run(s.graph)


def test_the_demo_model_brings_a_fit_of_its_own(comfy: Server) -> None:
    s, demo = demo_scene()
    g = s.graph
    drawn = bayesdiff(s, load(s, "demo (bundled)"), steps=2)
    result = g.node("UQTest_SaveUncertainty", uncertainty=drawn[1])
    found = comfy.value(comfy.run(g), result)[0]
    assert min(found["scores"]) > 0 and found["provenance"]["training_samples"] == "10000"
