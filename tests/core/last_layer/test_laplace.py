"""The Laplace posterior: its draws, the variance that it gives a prediction, the weights it lends, and its files."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from references_bayes import (
    KRONECKER,
    TinyMLP,
    TinyTransformer,
    TinyUNet,
    clean_samples,
    empirical_variance,
    fitted,
    in_batches,
    make,
    training,
)
from uncertainty_nodes.core.draws import step_generator
from uncertainty_nodes.core.last_layer.fit import fit_last_layer
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.last_layer.layer_algebra import input_patches, split
from uncertainty_nodes.core.options import LaplaceOptions


def test_a_learned_variance_is_left_as_trained():
    network = TinyUNet(extra=2)
    for options in (LaplaceOptions(), KRONECKER):
        posterior = fitted(network, (2, 4, 4), options).posterior(network)
        deviation = posterior.gaussian.deviation(step_generator(0, 0))
        assert bool((deviation[:2] != 0).all()) and not deviation[2:].any()
        assert not posterior.gaussian.output_variance(network.conv_out, torch.randn(1, 4, 4, 4))[:, 2:].any()


def test_fit_and_variance_work_on_weights_made_under_inference_mode():
    torch.manual_seed(2)
    plain = TinyTransformer()
    clean = clean_samples(4, 2, 4, 4)
    expected = fit_last_layer(plain, training(plain), in_batches(clean))
    with torch.inference_mode():
        torch.manual_seed(2)
        network = TinyTransformer()
        assert network.enter.weight.is_inference()
        found = fit_last_layer(network, training(network), in_batches(clean.clone()))
        variance = found.posterior(network).predict(lambda: network(clean, torch.ones(4)))[1]
        with found.posterior(network).sampled(0, 0):
            assert not torch.equal(network.final_layer.linear.weight, plain.final_layer.linear.weight)
    assert torch.equal(found.curvature.squares, expected.curvature.squares) and bool((variance > 0).all())


@pytest.mark.parametrize("options", [LaplaceOptions(), KRONECKER], ids=["diagonal", "kronecker"])
def test_draws_have_the_posterior_variance(options):
    network = TinyMLP()
    gaussian = fitted(network, (5,), options).posterior(network).gaussian
    found = empirical_variance(lambda i: gaussian.deviation(step_generator(0, i)), 4000)
    expected = gaussian.variance
    if options is KRONECKER:
        expected = gaussian.turn_out.square() @ expected @ gaussian.turn_in.square().T
    torch.testing.assert_close(found, expected.double(), rtol=5 * math.sqrt(2 / 4000), atol=0)


@pytest.mark.parametrize("options", [LaplaceOptions(), KRONECKER], ids=["diagonal", "kronecker"])
@pytest.mark.parametrize("kind", ["conv2d", "circular, dilated", "tokens"])
def test_variance_of_the_output_is_that_over_10000_weight_draws(kind, options):
    network, shape = make(kind)
    x, sigma = clean_samples(2, *shape), torch.tensor([0.3, 0.8])
    posterior = fitted(network, shape, replace(options, prior_precision=0.5)).posterior(network)
    output, variance = posterior.predict(lambda: network(x, sigma))
    assert torch.equal(output, network(x, sigma))
    layer, seen = posterior.layer, []
    handle = layer.register_forward_hook(lambda m, a, o: seen.append(a[0].detach()))
    network(x, sigma)
    handle.remove()
    # the network is linear in its last layer: that layer of the deviation alone is the output's deviation
    generator = torch.Generator().manual_seed(3)
    deviations = torch.stack([posterior.gaussian.deviation(generator) for _ in range(10000)])
    brute = torch.einsum("doi,nip->dnop", deviations, input_patches(layer, seen[0])).var(dim=0)
    if kind == "tokens":
        brute = brute.movedim(1, 2).reshape(2, 2, 2, 2, 2, 2).permute(0, 3, 1, 4, 2, 5)
    ratio = variance / brute.reshape(x.shape)
    assert float((ratio.mean() - 1).abs()) < 0.01
    assert float((ratio - 1).abs().mean()) < 0.03 and float((ratio - 1).abs().max()) < 0.08  # a single one of 10,000: 1.4 %


def test_sampled_network_is_the_network_with_the_drawn_weights():
    network, x, sigma = TinyTransformer(), clean_samples(2, 2, 4, 4), torch.tensor([0.3, 0.8])
    posterior = fitted(network, (2, 4, 4)).posterior(network)
    weight, bias = split(posterior.layer, posterior.gaussian.deviation(step_generator(7, 2)))
    drawn = {"weight": posterior.layer.weight + weight, "bias": posterior.layer.bias + bias}
    named = {f"final_layer.linear.{name}": value for name, value in drawn.items()}
    expected = torch.func.functional_call(network, named, (x, sigma))
    with posterior.sampled(7, 2):
        assert torch.equal(network(x, sigma), expected)
    with posterior.sampled(7, 3):
        assert not torch.allclose(network(x, sigma), expected)


@pytest.mark.parametrize("options", [LaplaceOptions(), KRONECKER], ids=["diagonal", "kronecker"])
def test_infinite_prior_precision_is_the_plain_model(options):
    network, x, sigma = TinyUNet(), clean_samples(2, 2, 4, 4), torch.tensor([0.3, 0.8])
    found = fitted(network, (2, 4, 4), options)
    variances = []
    for precision in (1.0, 1e3, 1e9, math.inf):
        posterior = replace(found, options=replace(options, prior_precision=precision)).posterior(network)
        variances.append(float(posterior.predict(lambda: network(x, sigma))[1].max()))
    assert variances[0] > variances[1] > 1e3 * variances[2] > 0 == variances[3]
    plain = network(x, sigma)
    with posterior.sampled(0, 0):
        assert torch.equal(network(x, sigma), plain)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, torch.cuda.OutOfMemoryError])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_come_back_bit_for_bit(error, dtype):
    network = TinyMLP()
    posterior = fitted(network, (5,)).posterior(network)
    for name in ("weight", "bias"):
        setattr(network.proj_out, name, nn.Parameter(getattr(network.proj_out, name).detach().to(dtype)))
    objects = list(network.proj_out.parameters())
    bits = [p.detach().clone().view(torch.uint8) for p in objects]

    def use():
        with posterior.sampled(0, 0):
            assert not torch.equal(network.proj_out.weight.float(), objects[0].float())
            if error:
                raise error

    if error:
        with pytest.raises(error):
            use()
    else:
        use()
    assert all(a is b for a, b in zip(objects, network.proj_out.parameters(), strict=True))
    assert all(torch.equal(a, b.detach().view(torch.uint8)) for a, b in zip(bits, objects, strict=True))


def test_half_precision_keeps_small_variances():
    network, x, sigma = TinyTransformer(), clean_samples(2, 2, 4, 4), torch.tensor([0.3, 0.8])
    found = fitted(network, (2, 4, 4))
    posterior = replace(found, options=replace(found.options, prior_precision=1e9)).posterior(network)
    full = posterior.predict(lambda: network(x, sigma))[1]
    network.half()
    half = posterior.predict(lambda: network(x.half(), sigma.half()))[1]
    assert float(full.max()) < 1e-8  # float16 ends at 6e-8
    torch.testing.assert_close(half, full, rtol=1e-2, atol=0)


def test_variance_is_refused_where_the_network_does_more_after_its_last_layer():
    network = TinyMLP()
    posterior = fitted(network, (5,)).posterior(network)
    x, sigma = torch.randn(2, 5), torch.ones(2)
    for after in (lambda y: 2 * y, torch.tanh, lambda y: y.mean(1, keepdim=True).expand(-1, 5) * 1, lambda y: -y):
        with pytest.raises(ValueError, match="more than rearrange"):
            posterior.predict(lambda after=after: after(network(x, sigma)))
    shifted = posterior.predict(lambda: (network(x, sigma) + x).flip(1))[1]  # what does not depend on the weights has no variance
    assert torch.equal(shifted, posterior.predict(lambda: network(x, sigma))[1].flip(1))


@pytest.mark.parametrize("options", [LaplaceOptions(draws=2, seed=3, prior_precision=math.inf), KRONECKER], ids=["diagonal", "kronecker"])
def test_a_file_keeps_everything(tmp_path, options):
    network = TinyUNet()
    found = fitted(network, (2, 4, 4), options)
    found.save(tmp_path / "fit.safetensors")
    loaded = Laplace.load(tmp_path / "fit.safetensors")
    assert (loaded.identity, loaded.options, loaded.samples) == (found.identity, options, 6)
    assert torch.equal(loaded.posterior(network).gaussian.variance, found.posterior(network).gaussian.variance)
    half = TinyUNet().half()
    half.load_state_dict({k: v.half() for k, v in network.state_dict().items()})
    again = fitted(TinyUNet(), (2, 4, 4))
    with pytest.raises(ValueError, match="other weights of layer 'conv_out'"):
        again.posterior(half)


def test_a_half_precision_model_is_the_same_model_in_full_precision():
    network = TinyUNet().half()
    found = fitted(network.float(), (2, 4, 4))
    assert found.posterior(network.half()).layer is network.conv_out


def test_another_model_is_refused_in_a_sentence():
    torch.manual_seed(0)
    network, retrained, wider, other = TinyUNet(), TinyUNet(), TinyUNet(extra=1), TinyMLP()
    found = fitted(network, (2, 4, 4))
    with pytest.raises(ValueError, match="for other weights of layer 'conv_out' than this model has; load the model that it was made for"):
        found.posterior(retrained)
    with pytest.raises(ValueError, match=r"another architecture \(its layer 'conv_out' is Conv2d 2x4x3x3, here it is Conv2d 3x4x3x3"):
        found.posterior(wider)
    with pytest.raises(ValueError, match="is for layer 'conv_out', which TinyMLP does not have"):
        found.posterior(other)
    retrained.load_state_dict(network.state_dict())
    assert found.posterior(retrained).layer is retrained.conv_out
    with found.posterior(network).sampled(0, 0), pytest.raises(ValueError, match="other weights"):
        found.posterior(network)


def test_damaged_files_are_refused(tmp_path):
    network = TinyUNet()
    found, path = fitted(network, (2, 4, 4)), tmp_path / "fit.safetensors"
    found.save(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        Laplace.load(path)
    replace(found, options=KRONECKER).save(path)  # says Kronecker, holds squares
    with pytest.raises(ValueError, match="not a whole saved Laplace fit"):
        Laplace.load(path)
    replace(found, curvature=type(found.curvature)(torch.ones(1, 1))).save(path)
    with pytest.raises(ValueError, match="sums of another size"):
        Laplace.load(path).posterior(network)
    with pytest.raises(FileNotFoundError):
        Laplace.load(tmp_path / "none.safetensors")


def test_a_fit_of_one_sample_gives_no_posterior():
    network = TinyUNet()
    with pytest.raises(ValueError, match="at least 2 training samples, this one has 1"):
        replace(fitted(network, (2, 4, 4)), samples=1).posterior(network)


@pytest.mark.parametrize("options", [LaplaceOptions(), KRONECKER], ids=["diagonal", "kronecker"])
def test_variance_of_a_mix_of_passes_is_that_over_shared_weight_draws(options):
    network, shape = make("conv2d")
    xs, sigma = clean_samples(4, *shape).split(2), torch.tensor([0.3, 0.8])
    posterior = fitted(network, shape, replace(options, prior_precision=0.5)).posterior(network)
    calls = [lambda x=x: network(x, sigma) for x in xs]
    output, variance = posterior.predict_mix(calls, [-1.5, 2.5])

    def mix() -> torch.Tensor:
        return -1.5 * calls[0]() + 2.5 * calls[1]()

    def drawn(member: int) -> torch.Tensor:
        with posterior.sampled(3, member):
            return mix().detach()

    torch.testing.assert_close(output, mix().detach())
    ratio = variance / empirical_variance(drawn, 3000)
    assert float((ratio.mean() - 1).abs()) < 0.02 and float((ratio - 1).abs().max()) < 0.15
    with pytest.raises(ValueError, match="adding up to 1"):
        posterior.predict_mix(calls, [1.0, 1.0])
