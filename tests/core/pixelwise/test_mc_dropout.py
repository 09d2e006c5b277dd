"""MC dropout against the closed form of one linear layer and a loop that drops by hand; what it leaves behind: nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from references import ConvDenoiser
from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.draws import step_generator
from uncertainty_nodes.core.options import Direction, DrawOptions, DropoutOptions, Pooling
from uncertainty_nodes.core.pixelwise.mc_dropout import (
    dropping,
    estimate_dropout,
    estimate_dropout_step,
    finish,
    measure_dropout_step,
    recorder,
)


class Dropper(nn.Module):
    """A denoiser with a dropout of some kind before its last layer, and a batch norm that must stay in eval mode."""

    def __init__(self, dropout: nn.Module) -> None:
        super().__init__()
        self.enter, self.norm, self.dropout, self.leave = nn.Conv2d(2, 6, 1), nn.BatchNorm2d(6), dropout, nn.Conv2d(6, 2, 1)

    def hidden(self, x):
        return torch.tanh(self.norm(self.enter(x)))

    def forward(self, x, sigma):
        return self.leave(self.dropout(self.hidden(x)))


def options(samples=5, seed=0, **settings):
    return DropoutOptions(DrawOptions(samples, seed), **settings)


def sample(batch=3):
    return torch.randn(batch, 2, 4, 4), torch.full((batch,), 0.6)


def spread(network, x, sigma, seed=0, step=0):
    return estimate_dropout_step(network, network, x, sigma, Process.VP, options(seed=seed), step).denoised


KINDS = [nn.Dropout(0.3), nn.Dropout2d(0.3)]


@pytest.mark.parametrize("dropout", KINDS, ids=["unit", "channel"])
def test_variance_is_the_closed_form_of_a_linear_layer(dropout):
    """y = W (mask h) / (1 - p): Var(y_o) = sum_i W_oi^2 h_i^2 p / (1 - p)."""
    network = Dropper(dropout).eval()
    (x, sigma), p = sample(), dropout.p
    with torch.no_grad():
        found = estimate_dropout_step(network, network, x, sigma, Process.VE, options(1024), 0)
        h = network.hidden(x)
        exact = torch.einsum("oi,bihw->bohw", network.leave.weight[:, :, 0, 0].square(), h.square()) * p / (1 - p)
    ratio = found.denoised / exact
    assert float((ratio - 1).abs().max()) < 6 * math.sqrt(2 / 1024)
    torch.testing.assert_close(found.noise, found.denoised / 0.36)  # eps = (x - x0) / sigma at a fixed x


@pytest.mark.parametrize("dropout", KINDS, ids=["unit", "channel"])
def test_equals_a_loop_that_drops_by_hand(dropout):
    network, (x, sigma) = Dropper(dropout).eval(), sample()
    generator, passes = step_generator(4, 2), []
    with torch.no_grad():
        found = estimate_dropout_step(network, network, x, sigma, Process.VP, options(5, seed=4), 2)
        for _ in range(5):
            shape = (6, 1, 1) if isinstance(dropout, nn.Dropout2d) else (6, 4, 4)
            mask = (torch.rand(shape, generator=generator) >= 0.3) / 0.7
            passes.append(torch.stack([network.leave((mask * network.hidden(x[b : b + 1]))[0]) for b in range(3)]))
    mean = sum(passes) / 5
    torch.testing.assert_close(found.denoised, sum((p - mean) ** 2 for p in passes) / 4)


def test_a_neighbour_does_not_matter_and_the_seed_decides():
    network, (x, sigma) = Dropper(nn.Dropout(0.5)).eval(), sample()
    with torch.no_grad():
        whole = spread(network, x, sigma)
        alone = spread(network, x[1:2], sigma[1:2])
        other_seed, other_step = spread(network, x, sigma, seed=1), spread(network, x, sigma, step=1)
    torch.testing.assert_close(whole[1:2], alone)
    assert not torch.allclose(whole, other_seed, rtol=0.01) and not torch.allclose(whole, other_step, rtol=0.01)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt, torch.cuda.OutOfMemoryError])
@pytest.mark.parametrize("training", [False, True])
def test_modes_hooks_statistics_and_random_state_are_left_as_they_were(error, training):
    network, (x, sigma) = Dropper(nn.Dropout(0.5)).train(training), sample()
    network.enter.train(not training)  # mixed modes come back one by one
    modes, state = [m.training for m in network.modules()], torch.get_rng_state()
    statistics = network.norm.running_mean.clone()
    seen = []

    def denoise(x, sigma):
        seen.append([m.training for m in network.modules()])
        if error and len(seen) == 3:
            raise error
        return network(x, sigma)

    if error:
        with pytest.raises(error):
            estimate_dropout_step(network, denoise, x, sigma, Process.VP, options(), 0)
    else:
        estimate_dropout_step(network, denoise, x, sigma, Process.VP, options(), 0)
    assert not any(any(s) for s in seen) and len(seen) == (3 if error else 5)
    assert [m.training for m in network.modules()] == modes
    assert not any(m._forward_hooks for m in network.modules())
    assert torch.equal(network.norm.running_mean, statistics) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("network", [ConvDenoiser(2), Dropper(nn.Dropout(0.0)), Dropper(nn.Identity())], ids=["none", "p = 0", "identity"])
def test_a_network_without_dropout_is_refused(network):
    x, sigma = sample()
    with pytest.raises(ValueError, match="has no dropout layer with p above 0, so MC dropout cannot vary it; choose another estimator"):
        estimate_dropout(network, network, x, [0.5], Process.VP)


def test_everything_dropped_is_zero_and_not_nan():
    network, (x, sigma) = Dropper(nn.Dropout(1.0)), sample()
    with torch.no_grad(), dropping(network, step_generator(0, 0)):
        assert torch.equal(network(x, sigma), network.leave.bias[None, :, None, None].expand(3, 2, 4, 4))


def test_finished_samples_are_scored_at_each_level():
    network, (x, _) = Dropper(nn.Dropout(0.5)).eval(), sample()
    rows = []

    def counting(x, sigma):
        rows.append(len(x))
        return network(x, sigma)

    with torch.no_grad():
        found = estimate_dropout(network, counting, x, [0.8, 0.5], Process.VP, options(pooling=Pooling.SUM), passes=2)
    assert sum(rows) == 3 * 2 * 5 and found.nfe == 2 * 2 * 5
    assert found.direction is Direction.HIGH_IS_BAD and found.quantity == "mc_dropout" and found.curve.shape == (2, 3)
    torch.testing.assert_close(found.scores, 2 * found.maps.flatten(1).sum(1))
    assert found.provenance["method"] == "mc dropout" and "center" not in found.provenance
    with pytest.raises(ValueError, match="sigmas is empty"):
        estimate_dropout(network, network, x, [], Process.VP)
    failed = x.clone()
    failed[1] = torch.nan
    with torch.no_grad():
        alone = estimate_dropout(network, network, failed, [0.8, 0.5], Process.VP, options(pooling=Pooling.SUM))
    assert alone.scores.isnan().tolist() == [False, True, False]
    assert torch.equal(alone.scores[[0, 2]], found.scores[[0, 2]])


def test_a_run_is_recorded_step_by_step():
    network, (x, sigma) = Dropper(nn.Dropout(0.5)).eval(), sample()
    record = recorder(options(), Process.VP)
    with pytest.raises(ValueError, match="No step was measured"):
        finish(record)
    with torch.no_grad():
        spreads = [measure_dropout_step(record, network, network, x, sigma * s, options(), step) for step, s in enumerate([1.0, 0.5])]
    found = finish(record)
    torch.testing.assert_close(found.maps, (spreads[0].denoised + spreads[1].denoised) / 2)
    assert found.nfe == 10 and found.sigmas.tolist() == pytest.approx([0.6, 0.3])
