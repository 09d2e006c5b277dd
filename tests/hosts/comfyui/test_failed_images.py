"""One image that is NaN, at each place of a batch: it scores NaN, and every other image is what it would be without it."""

from __future__ import annotations

import math

import pytest
import torch

from comfy_scenes import Scene, ksampler, scene
from comfy_server import Server
from comfy_uncertainty import estimator, guidance, read, record, samples, save, save_uncertainty


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
