"""The Kronecker-factored posterior against dense matrices."""

from __future__ import annotations

from dataclasses import replace

import torch

from references_bayes import (
    KRONECKER,
    TinyMLP,
    TinyTransformer,
    clean_samples,
    each_network,
    fitted,
    in_batches,
    last,
    make,
    naive_gradients,
    noised,
    patch_source,
    training,
)
from uncertainty_nodes.core.denoiser import Prediction, Process
from uncertainty_nodes.core.last_layer.fit import Training, fit_last_layer
from uncertainty_nodes.core.last_layer.layer_algebra import input_patches, positions


@each_network
def test_kronecker_is_the_dense_matrix_of_its_factors(kind):
    network, shape = make(kind)
    options = replace(KRONECKER, prior_precision=2.0, noise_variance=0.25)
    found = fitted(network, shape, options)
    c, gaussian, layer = found.curvature, found.posterior(network).gaussian, last(network)
    size = c.gradients.shape[0] * c.inputs.shape[0]
    dense = torch.linalg.inv(2 * torch.eye(size, dtype=torch.float64) + 0.5 / 0.25 * torch.kron(c.gradients, c.inputs) / c.count)
    ours = torch.kron(gaussian.turn_out, gaussian.turn_in).double()
    torch.testing.assert_close(ours @ torch.diag(gaussian.variance.double().flatten()) @ ours.T, dense, rtol=1e-4, atol=1e-6)
    features = torch.randn(2, *patch_source(layer))
    a = input_patches(layer, features).double()  # (N, I, P)
    outputs, inputs = len(c.gradients), len(c.inputs)
    blocks = torch.stack([dense.view(outputs, inputs, outputs, inputs)[o, :, o] for o in range(outputs)])
    expected = torch.einsum("nip,oij,njp->nop", a, blocks, a)
    torch.testing.assert_close(positions(layer, gaussian.output_variance(layer, features)).double(), expected, rtol=1e-4, atol=1e-6)


def test_kronecker_factors_are_sums_over_samples_and_positions():
    network, clean = TinyTransformer(), clean_samples(3, 2, 4, 4)
    found = fit_last_layer(network, training(network), in_batches(clean, 2), KRONECKER).curvature
    x, sigma, target = noised(training(network), clean)
    tokens = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(3, 4, 8)
    a = torch.tanh(network.enter(tokens) + sigma.view(-1, 1, 1)).detach()
    residual = (network(x, sigma) - target).detach().unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(12, 8)
    a = torch.cat([a.reshape(12, 6), torch.ones(12, 1)], dim=1)
    torch.testing.assert_close(found.inputs, (a.T @ a).double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.gradients, (4 * residual.T @ residual).double(), rtol=1e-5, atol=1e-6)
    assert int(found.count) == 12


def test_kronecker_is_the_exact_fisher_of_equal_samples_with_one_position():
    network, clean = TinyMLP(), clean_samples(1, 5)
    x, sigma, target = noised(training(network), clean)
    g = naive_gradients(network, network.proj_out, x, sigma, target)[0].flatten()
    same = Training(lambda *_: network(x, sigma), Process.VP, Prediction.X0, training(network).levels)
    found = fit_last_layer(network, same, [(target, None), (target, None)], KRONECKER).curvature
    torch.testing.assert_close(torch.kron(found.gradients, found.inputs) / found.count, 2 * torch.outer(g, g), rtol=1e-4, atol=1e-6)
