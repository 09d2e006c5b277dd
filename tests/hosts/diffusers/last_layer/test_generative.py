"""Generative uncertainty on diffusers: the members' images, what they cost, and that weights come back."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bayes_scenes import counting, laplace_of, made, state_of, without_variance
from demo_draws import draw
from uncertainty_nodes.core.demo.extractor import load_extractor
from uncertainty_nodes.core.demo.network import LAPLACE
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.options import GenerativeOptions
from uncertainty_nodes.hosts.diffusers.demo import sample, starting_noise
from uncertainty_nodes.hosts.diffusers.last_layer.generative import generative, pipeline_draw

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own deprecations


@pytest.fixture(scope="module")
def laplace() -> Laplace:
    return Laplace.load(LAPLACE)


def encode(images: Tensor) -> Tensor:
    return images.float().flatten(1)[:, ::7]


def test_generative_uncertainty_of_the_demo_model(demo, laplace):
    network, scheduler, noise, labels = *demo, starting_noise(2, 0), torch.arange(2)

    def sampled(steps: int) -> Tensor:
        return sample(network, scheduler, noise, labels, steps)

    options, features = GenerativeOptions(members=2), load_extractor().features
    with counting(network) as rows:
        images, found = generative(sampled, 4, network, laplace, features, options)
    assert torch.equal(images, sampled(4)) and torch.equal(found.images[0], images)
    assert found.result.nfe == 2 * 4 and sum(rows) == 2 * (4 + 2 * 4)
    with counting(network) as rows:
        images, cheap = generative(sampled, 4, network, laplace, features, replace(options, member_steps=2))
    assert torch.equal(images, sampled(4)) and torch.equal(cheap.images[0], sampled(2))
    assert cheap.result.nfe == 3 * 2 and sum(rows) == 2 * (4 + 3 * 2)
    _, none = generative(sampled, 4, network, without_variance(laplace), features, options)
    assert all(torch.equal(member, images) for member in none.images) and not none.result.maps.any()
    assert (found.result.scores > none.result.scores).all()


@pytest.mark.parametrize("name", ["SD", "SD3"])
def test_generative_uncertainty_of_a_pipeline(name):
    pipe = made(name)
    laplace = laplace_of(pipe.network)
    before, options = state_of(pipe.network), GenerativeOptions(members=2, member_steps=2)

    def found(images: int) -> tuple[Tensor, Tensor]:
        inputs = {k: v[:images] if isinstance(v, Tensor) else v for k, v in pipe.inputs(2, 4.0).items()}
        if name == "SD":
            del inputs["output_type"]  # latents elsewhere
        with counting(pipe.network) as rows:
            drawn, uncertainty = generative(pipeline_draw(pipe.pipe, inputs, [3, 4][:images]), 3, pipe.pipe, laplace, encode, options)
        assert sum(rows) == 2 * images * 3 + images * uncertainty.result.nfe
        assert uncertainty.result.nfe == 2 * 3 * 2  # guided: two passes a step
        return drawn, uncertainty.result.scores

    both, scores = found(2)
    alone, score = found(1)
    assert both.shape[0] == 2 and (name != "SD" or (both.shape[1] == 3 and both.min() >= 0 and both.max() <= 1))
    torch.testing.assert_close(both[:1], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(scores[:1], score, rtol=1e-3, atol=1e-2)
    assert state_of(pipe.network) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_weights_are_back_when_a_member_fails(demo, laplace, error):
    network = demo[0]
    weight, calls = network.conv_out.weight, []

    def breaking(steps: int) -> Tensor:
        calls.append(network.conv_out.weight is weight)
        if len(calls) == 3:
            raise error
        return draw(*demo, 1, steps=2)

    with pytest.raises(error):
        generative(breaking, 2, network, laplace, encode)
    assert calls == [True, False, False] and network.conv_out.weight is weight


def test_wrong_encoders_and_models_are_refused(demo, laplace):
    def sampled(steps: int) -> Tensor:
        return draw(*demo, 1, steps=1)

    with pytest.raises(ValueError, match=r"images must be \(N, 1, 32, 32\)"):
        generative(lambda steps: sampled(steps)[..., :16], 1, demo[0], laplace, load_extractor().features)
    with pytest.raises(ValueError, match=r"one feature vector an image, shape \(1, D\), got \(1, 1, 32, 32\)"):
        generative(sampled, 1, demo[0], laplace, lambda images: images)
    with pytest.raises(ValueError, match="NaN or infinite features"):
        generative(sampled, 1, demo[0], laplace, lambda images: encode(images) * math.nan)
    with pytest.raises(ValueError, match="This Laplace fit is for"):
        generative(sampled, 1, made("SD").pipe, laplace, encode)
