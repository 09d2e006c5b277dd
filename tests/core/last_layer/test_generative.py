"""Generative uncertainty on samplers whose members are known, and the entropy against torch.distributions."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from references_bayes import TinyUNet, clean_samples, fitted
from uncertainty_nodes.core.draws import step_generator
from uncertainty_nodes.core.last_layer.generative import estimate_generative, semantic_entropy
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.last_layer.layer_algebra import split
from uncertainty_nodes.core.options import Direction, GenerativeOptions

SHAPE = (2, 4, 4)


class Sampler:
    """Four Euler steps from one noise, with a conditional and an unconditional pass each; counts the rows that the network sees."""

    def __init__(self, network, noise, steps=4):
        self.network, self.noise, self.steps, self.rows, self.calls = network, noise, steps, 0, 0

    @torch.no_grad()
    def __call__(self):
        x = self.noise
        self.calls += 1
        for step in range(self.steps):
            sigma = torch.full((2 * len(x),), 1 - step / self.steps)
            eps, none = self.network(x.repeat(2, 1, 1, 1), sigma).chunk(2)
            self.rows += 2 * len(x)
            x = x - (none + 1.5 * (eps - none)) / self.steps
        return x


def encode(images):
    return torch.stack([images.flatten(1).mean(1), images.flatten(1).std(1), images[:, 0, 0, 0]], dim=1)


@pytest.fixture
def model():
    network = TinyUNet().eval()
    return network, fitted(network, SHAPE), Sampler(network, clean_samples(3, *SHAPE))


def with_prior(laplace: Laplace, precision: float) -> Laplace:
    return replace(laplace, options=replace(laplace.options, prior_precision=precision))


def test_entropy_is_that_of_the_gaussian_around_the_features():
    features = torch.randn(6, 4, 7)
    expected = []
    for image in features.transpose(0, 1).double():
        mean = sum(image) / 6
        spread = sum((f - mean) ** 2 for f in image) / 6
        expected.append(torch.distributions.MultivariateNormal(mean, torch.diag(spread + 1e-3)).entropy())
    torch.testing.assert_close(semantic_entropy(features, 1e-3), torch.stack(expected))


def test_entropy_rises_with_disagreement_and_has_a_floor():
    direction = torch.randn(6, 1, 5)
    entropies = [float(semantic_entropy(scale * direction, 0.01)) for scale in (0.0, 0.1, 1.0)]
    assert entropies[0] == pytest.approx(2.5 * (math.log(2 * math.pi * 0.01) + 1))
    assert entropies[0] < entropies[1] < entropies[2]
    assert float(semantic_entropy(direction + 100, 0.01)) == pytest.approx(entropies[2], abs=1e-3)


def test_members_are_whole_samplings_with_the_drawn_weights(model):
    network, laplace, sample = model
    found = estimate_generative(sample, encode, network, laplace, GenerativeOptions(members=3, seed=7))
    gaussian, expected = laplace.posterior(network).gaussian, [sample()]
    for member in range(3):
        weight, bias = split(network.conv_out, gaussian.deviation(step_generator(7, member)))
        other = TinyUNet().eval()
        other.load_state_dict(network.state_dict())
        with torch.no_grad():
            other.conv_out.weight += weight
            other.conv_out.bias += bias
        expected.append(Sampler(other, sample.noise)())
    torch.testing.assert_close(found.images, torch.stack(expected))
    mean = sum(expected) / 4
    torch.testing.assert_close(found.result.maps, sum((e - mean) ** 2 for e in expected) / 4)
    features = torch.stack([encode(e) for e in expected])
    torch.testing.assert_close(found.result.scores.double(), semantic_entropy(features, 1e-3), rtol=1e-5, atol=1e-5)
    assert found.result.direction is Direction.HIGH_IS_BAD and found.result.quantity == "generative"


def test_nfe_is_what_was_run(model):
    network, laplace, sample = model
    found = estimate_generative(sample, encode, network, laplace, GenerativeOptions(members=2))
    assert found.result.nfe == sample.rows / 3 == 3 * 4 * 2 and sample.calls == 3
    plain = found.images[0]
    saved = estimate_generative(sample, encode, network, laplace, GenerativeOptions(members=2), trained=plain)
    assert saved.result.nfe == 2 * 4 * 2 and sample.calls == 5
    assert torch.equal(saved.images, found.images) and torch.equal(saved.result.scores, found.result.scores)
    shorter = estimate_generative(Sampler(network, sample.noise, 2), encode, network, laplace, GenerativeOptions(members=2, member_steps=2))
    assert shorter.result.nfe == 3 * 2 * 2 and shorter.result.provenance["member_steps"] == "2"


def test_neighbours_and_further_members_do_not_matter_and_the_seed_does(model):
    network, laplace, sample = model
    whole = estimate_generative(sample, encode, network, laplace, GenerativeOptions(members=3))
    alone = estimate_generative(Sampler(network, sample.noise[1:2]), encode, network, laplace, GenerativeOptions(members=3))
    torch.testing.assert_close(whole.result.scores[1:2], alone.result.scores, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(whole.result.maps[1:2], alone.result.maps, rtol=1e-4, atol=1e-7)
    more = estimate_generative(sample, encode, network, laplace, GenerativeOptions(members=5))
    assert torch.equal(more.images[:4], whole.images)
    other = estimate_generative(sample, encode, network, laplace, GenerativeOptions(members=3, seed=1))
    assert torch.equal(other.images[0], whole.images[0]) and not torch.allclose(other.images[1], whole.images[1], rtol=0.01)


def test_infinite_prior_precision_gives_the_plain_image_and_the_least_entropy(model):
    network, laplace, sample = model
    found = estimate_generative(sample, encode, network, with_prior(laplace, math.inf), GenerativeOptions(members=2))
    assert all(torch.equal(member, sample()) for member in found.images)
    assert not found.result.maps.any()
    assert found.result.scores.tolist() == pytest.approx([1.5 * (math.log(2 * math.pi * 1e-3) + 1)] * 3)
    scores = [estimate_generative(sample, encode, network, with_prior(laplace, p)).result.scores.mean() for p in (1.0, 1e3, 1e6)]
    assert scores[0] > scores[1] > scores[2] > found.result.scores.mean() - 1e-5


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, torch.cuda.OutOfMemoryError])
@pytest.mark.parametrize("at", [1, 3])
def test_weights_are_back_after_an_error_in_any_member(model, error, at):
    network, laplace, sample = model
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weight = network.conv_out.weight

    def breaking():
        if sample.calls == at:
            raise error
        return sample()

    with pytest.raises(error):
        estimate_generative(breaking, encode, network, laplace)
    assert network.conv_out.weight is weight and not network.conv_out._forward_hooks
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("encoder", "sentence"),
    [
        (lambda images: images, r"shape \(3, D\), got \(3, 2, 4, 4\); use its pooled output"),
        (lambda images: encode(images)[:1], r"got \(1, 3\)"),
        (lambda images: encode(images)[:, :0], r"got \(3, 0\)"),
    ],
)
def test_a_wrong_encoder_is_refused(model, encoder, sentence):
    network, laplace, sample = model
    with pytest.raises(ValueError, match=sentence):
        estimate_generative(sample, encoder, network, laplace, GenerativeOptions(members=1))


def failing(sample, row, after=0):
    """A sampling of which one image comes out NaN, from one call on."""
    calls = []

    def sample_with_failure():
        images = sample().clone()
        calls.append(1)
        if len(calls) > after:
            images[row] = torch.nan
        return images

    return sample_with_failure


@pytest.mark.parametrize("after", [0, 1])
def test_an_image_that_fails_scores_nan_and_leaves_the_others_alone(model, after):
    """By the trained weights, or by drawn ones only."""
    network, laplace, sample = model
    whole = estimate_generative(sample, encode, network, laplace, GenerativeOptions(members=2)).result
    found = estimate_generative(failing(sample, 1, after), encode, network, laplace, GenerativeOptions(members=2)).result
    assert found.scores.isnan().tolist() == [False, True, False]
    assert torch.equal(found.scores[[0, 2]], whole.scores[[0, 2]]) and torch.equal(found.maps[[0, 2]], whole.maps[[0, 2]])


def test_wrong_samplings_and_models_are_refused(model):
    network, laplace, sample = model
    changing = iter([sample(), sample()[:2]])
    with pytest.raises(ValueError, match="images of one shape"):
        estimate_generative(lambda: next(changing), encode, network, laplace)
    broken = iter([sample(), *[sample() * torch.inf] * 5])
    found = estimate_generative(lambda: next(broken), encode, network, laplace).result
    assert found.scores.isnan().all() and "raise prior_precision" in found.provenance["caution"]
    with pytest.raises(ValueError, match=r"images of shape \(batch, ...\), got \(0, 2, 4, 4\)"):
        estimate_generative(lambda: sample()[:0], encode, network, laplace)
    with pytest.raises(ValueError, match="other weights"):
        estimate_generative(sample, encode, TinyUNet(), laplace)
