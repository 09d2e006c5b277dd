"""The fit against laplace-torch, against one backward pass a sample, and against itself in pieces."""

from __future__ import annotations

import copy
import math
import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn

from references_bayes import (
    KRONECKER,
    TinyUNet,
    as_matrix,
    clean_samples,
    each_network,
    fitted,
    in_batches,
    last,
    make,
    naive_gradients,
    noised,
    training,
)
from uncertainty_nodes.core.denoiser import Prediction, Process
from uncertainty_nodes.core.last_layer.fit import Training, fit_last_layer
from uncertainty_nodes.core.last_layer.laplace import Laplace
from uncertainty_nodes.core.options import LaplaceOptions


@each_network
def test_squares_are_those_of_one_backward_pass_a_sample(kind):
    network, shape = make(kind)
    clean = clean_samples(6, *shape)
    found = fit_last_layer(network, training(network), in_batches(clean, cond=0.3))
    gradients = naive_gradients(network, last(network), *noised(training(network), clean), cond=0.3)
    torch.testing.assert_close(found.curvature.squares, gradients.square().sum(0), rtol=1e-5, atol=1e-8)
    options = LaplaceOptions(prior_precision=3.0, noise_variance=0.25)
    variance = replace(found, options=options).posterior(network).gaussian.variance
    torch.testing.assert_close(variance.double(), 1 / (3 + gradients.square().sum(0) * 0.5 / 0.25), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("process", "prediction"),
    [(Process.VP, Prediction.V), (Process.VP, Prediction.X0), (Process.VE, Prediction.EPS), (Process.FLOW, Prediction.FLOW)],
)
def test_loss_is_the_training_loss_of_each_prediction(process, prediction):
    network, clean = TinyUNet(), clean_samples(5, 2, 4, 4)
    task = training(network, process, prediction)
    gradients = naive_gradients(network, network.conv_out, *noised(task, clean))
    torch.testing.assert_close(
        fit_last_layer(network, task, in_batches(clean)).curvature.squares, gradients.square().sum(0), rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("kind", ["conv2d", "vectors"])
def test_posterior_is_that_of_laplace_torch(kind):
    """Their regression likelihood, on our noisy samples: in it MSELoss is a sum, halved, over sigma_noise^2."""
    laplace_torch = pytest.importorskip("laplace", reason="laplace-torch is not installed")
    from laplace.curvature import BackPackEF, CurvlinopsEF

    network, shape = make(kind)
    clean = clean_samples(7, *shape)
    options = LaplaceOptions(prior_precision=2.0, noise_variance=0.25)
    x, sigma, target = noised(training(network), clean)
    with torch.no_grad():  # both see the features; sigma does not go through theirs
        features = torch.tanh((network.conv_in if kind == "conv2d" else network.enter)(x) + sigma.view(-1, *[1] * (x.ndim - 1)))
    data = torch.utils.data.TensorDataset(features, target.flatten(1))
    body, layer = nn.Identity(), copy.deepcopy(last(network))  # a copy: backends hang hooks on it
    theirs = laplace_torch.Laplace(
        nn.Sequential(layer, nn.Flatten()) if kind == "conv2d" else nn.Sequential(body, layer),
        "regression",
        subset_of_weights="all" if kind == "conv2d" else "last_layer",  # theirs knows no convolution as a last layer
        hessian_structure="diag",
        backend=CurvlinopsEF if kind == "conv2d" else BackPackEF,
        prior_precision=options.prior_precision,
        sigma_noise=math.sqrt(options.noise_variance),
    )
    theirs.fit(torch.utils.data.DataLoader(data, batch_size=3))
    ours = fit_last_layer(network, training(network), in_batches(clean), options).posterior(network).gaussian.variance
    weight, bias = theirs.posterior_precision.split([layer.weight.numel(), layer.bias.numel()])
    torch.testing.assert_close(ours, 1 / as_matrix(weight.view_as(layer.weight), bias), rtol=1e-5, atol=0)


@pytest.mark.parametrize("options", [LaplaceOptions(), KRONECKER], ids=["diagonal", "kronecker"])
@each_network
def test_batch_size_changes_nothing(options, kind):
    network, shape = make(kind)
    one, many = (fitted(network, shape, options, batch=batch).curvature.tensors() for batch in (1, 6))
    for name in one:
        torch.testing.assert_close(one[name], many[name], rtol=1e-5, atol=1e-7)


def test_draws_are_further_training_pairs_with_noise_of_their_own():
    network, clean = TinyUNet(), clean_samples(3, 2, 4, 4)
    twice = fit_last_layer(network, training(network), in_batches(clean, 2), LaplaceOptions(draws=2)).curvature.squares
    repeated = fit_last_layer(network, training(network), in_batches(clean.repeat_interleave(2, 0), 2)).curvature.squares
    torch.testing.assert_close(twice, repeated, rtol=1e-5, atol=0)
    assert not torch.allclose(twice, 2 * fit_last_layer(network, training(network), in_batches(clean)).curvature.squares, rtol=0.1)
    other = fit_last_layer(network, training(network), in_batches(clean), LaplaceOptions(seed=1)).curvature.squares
    assert not torch.allclose(other, fit_last_layer(network, training(network), in_batches(clean)).curvature.squares, rtol=0.1)


@pytest.mark.parametrize("options", [LaplaceOptions(), KRONECKER], ids=["diagonal", "kronecker"])
def test_a_fit_that_was_cut_short_goes_on_from_its_file(tmp_path, options):
    network, clean = TinyUNet(), clean_samples(10, 2, 4, 4)
    whole = fit_last_layer(network, training(network), in_batches(clean), options)

    def stop(so_far):
        so_far.save(tmp_path / "part.safetensors")
        if so_far.samples == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_last_layer(network, training(network), in_batches(clean), options, progress=stop)
    part, passes = Laplace.load(tmp_path / "part.safetensors"), []
    counting = Training(lambda *a: passes.append(len(a[0])) or network(*a), Process.VP, Prediction.EPS, training(network).levels)
    rest = fit_last_layer(network, counting, in_batches(clean), options, resume=part)
    assert part.samples == 8 and rest.samples == 10 and passes == [2]
    for name, value in whole.curvature.tensors().items():
        assert torch.equal(value, rest.curvature.tensors()[name])


def test_memory_is_that_of_one_batch():
    """What the fit keeps does not grow, and no batch is held on to once the next has come."""
    network, alive = TinyUNet(), []

    def stream():
        for _ in range(6):
            clean = torch.randn(2, 2, 4, 4)
            alive.append(weakref.ref(clean))
            yield clean, 0.0
            del clean
            assert sum(ref() is not None for ref in alive) <= 2

    assert fit_last_layer(network, training(network), stream()).samples == 12


def test_fit_leaves_network_random_state_and_modes_alone():
    network = TinyUNet()
    before, state = {k: v.clone() for k, v in network.state_dict().items()}, torch.get_rng_state()
    hooks = len(network.conv_out._forward_hooks)
    fitted(network, (2, 4, 4))
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in before.items())
    assert torch.equal(state, torch.get_rng_state()) and len(network.conv_out._forward_hooks) == hooks
    assert torch.is_grad_enabled() and all(p.requires_grad and p.grad is None for p in network.parameters())


def test_a_pass_that_fails_leaves_no_hook_and_no_mode_behind():
    network = TinyUNet()

    def out_of_memory(x, sigma, cond):
        network(x, sigma)
        raise torch.cuda.OutOfMemoryError("simulated")

    task = Training(out_of_memory, Process.VP, Prediction.EPS, torch.tensor([0.5]))
    with torch.no_grad(), pytest.raises(torch.cuda.OutOfMemoryError):
        fit_last_layer(network, task, in_batches(clean_samples(2, 2, 4, 4)))
    with torch.no_grad():
        assert not network(torch.ones(1, 2, 4, 4), torch.ones(1)).requires_grad
    assert torch.is_grad_enabled() and not network.conv_out._forward_hooks


def test_fit_refuses_in_a_sentence():
    network = TinyUNet()
    clean = clean_samples(4, 2, 4, 4)
    broken = clean.clone()
    broken[3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="at least 2 training samples, got none"):
        fit_last_layer(network, training(network), [])
    with pytest.raises(ValueError, match="at least 2 training samples, got 1; give it more images"):
        fit_last_layer(network, training(network), in_batches(clean[:1]))
    with pytest.raises(ValueError, match="Training sample 3 gives NaN"):
        fit_last_layer(network, training(network), in_batches(broken, 2))
    with pytest.raises(ValueError, match="got 'nope' .there is none of that name.; this network ends with .'conv_in', 'conv_out'."):
        fit_last_layer(network, training(network), in_batches(clean), layer="nope")
    with pytest.raises(ValueError, match="it acted 0 times"):
        fit_last_layer(network, Training(lambda x, s, c: x, Process.VP, Prediction.EPS, torch.ones(1) / 2), in_batches(clean))
    with pytest.raises(ValueError, match="it acted 2 times"):
        fit_last_layer(
            network, Training(lambda *a: network(*a) - network(*a), Process.VP, Prediction.EPS, torch.ones(1) / 2), in_batches(clean)
        )
    with pytest.raises(ValueError, match="does not depend on the last layer"):
        fit_last_layer(network, Training(lambda *a: network(*a).detach(), Process.VP, Prediction.EPS, torch.ones(1) / 2), in_batches(clean))
    with pytest.raises(ValueError, match="must return the shape of its input"):
        fit_last_layer(
            network, Training(lambda *a: network(*a)[:, :, 1:], Process.VP, Prediction.EPS, torch.ones(1) / 2), in_batches(clean)
        )


def test_going_on_with_another_fit_is_refused():
    network, clean = TinyUNet(), clean_samples(8, 2, 4, 4)
    part = fit_last_layer(network, training(network), in_batches(clean[:4]))
    with pytest.raises(ValueError, match="as it began: seed was 0, got 1"):
        fit_last_layer(network, training(network), in_batches(clean), LaplaceOptions(seed=1), resume=part)
    with pytest.raises(ValueError, match="ended after sample 4, inside this batch"):
        fit_last_layer(network, training(network), in_batches(clean, 3), resume=part)
    with pytest.raises(ValueError, match="other weights"):
        fit_last_layer(TinyUNet(), training(network), in_batches(clean), resume=part)
    later = fit_last_layer(network, training(network), in_batches(clean), LaplaceOptions(prior_precision=9.0), resume=part)
    assert later.options.prior_precision == 9.0 and later.samples == 8
