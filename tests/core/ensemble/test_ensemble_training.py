"""The training loop: against Adam by hand on the same draws, and its promises: determinism, resuming, nothing else moves."""

from __future__ import annotations

import math
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from uncertainty_nodes.core.denoiser import Prediction, Process
from uncertainty_nodes.core.ensemble.bootstrap import bootstraps
from uncertainty_nodes.core.ensemble.training import member_start_generator, train
from uncertainty_nodes.core.last_layer.fit import Training
from uncertainty_nodes.core.options import EnsembleTrainingOptions

CLEAN = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(5))
LEVELS = torch.linspace(0.1, 0.9, 7)
OPTIONS = EnsembleTrainingOptions(steps=4, batch=3, learning_rate=0.05, seed=2)
ROWS = bootstraps(len(CLEAN), 2)


class Toy(nn.Module):
    """An offset of each member's own, and a weight that they share."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Parameter(torch.tensor(0.3))
        self.offset: torch.Tensor | None = None
        self.left = 0

    @contextmanager
    def enter(self, k):
        self.offset = torch.randn(2, generator=member_start_generator(0, k)).requires_grad_()
        try:
            yield {"offset": self.offset}
        finally:
            self.offset, self.left = None, self.left + 1

    def predict(self, x, sigma, rows):
        return self.shared * x + self.offset.mean() * sigma.view(-1, 1, 1, 1) + self.offset[0] * rows.view(-1, 1, 1, 1)


def run(toy=None, options=OPTIONS, process=Process.VP, prediction=Prediction.EPS, **more):
    toy = toy or Toy()
    training = Training(toy.predict, process, prediction, LEVELS)
    return train(training, CLEAN, more.pop("rows", ROWS), toy.enter, 0.01, options, **more)


def test_a_step_is_adam_on_the_models_own_loss():
    """One sample, one level: only the noise is left to chance, and it is found again from the loss of a zero network."""
    clean, level = torch.full((1, 1, 1, 1), 0.7), torch.tensor([0.6])
    seen = []

    @contextmanager
    def enter(k):
        yield {"bias": bias}

    def predict(x, sigma, rows):
        seen.append(x.detach().clone())
        return 0 * x + bias

    bias = torch.tensor([1.5], requires_grad=True)
    options = EnsembleTrainingOptions(steps=3, batch=1, learning_rate=0.1)
    (made,) = train(Training(predict, Process.VP, Prediction.EPS, level), clean, [torch.tensor([0])], enter, 1.0, options)
    value, mean, square = 1.5, 0.0, 0.0
    for step, x in enumerate(seen):
        noise = float((x - math.sqrt(1 - 0.36) * 0.7) / 0.6)
        assert made.losses[step] == pytest.approx((value - noise) ** 2, rel=1e-4)
        gradient = 2 * (value - noise)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        rate = 0.1 * (1 + math.cos(math.pi * step / 3)) / 2
        value -= rate * (mean / (1 - 0.9 ** (step + 1))) / (math.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8)
    assert len(seen) == 3 and float(made.parameters["bias"]) == pytest.approx(value, rel=1e-4)


def test_a_network_that_can_learn_does():
    made = run(options=EnsembleTrainingOptions(steps=200, batch=6, learning_rate=0.05))
    for member in made:
        assert sum(member.losses[-20:]) < 0.5 * sum(member.losses[:20])


def test_same_seed_same_members_and_another_other_ones():
    first, again, other = run(), run(), run(options=EnsembleTrainingOptions(4, 3, 0.05, seed=3))
    for a, b, c in zip(first, again, other, strict=True):
        assert torch.equal(a.parameters["offset"], b.parameters["offset"]) and a.losses == b.losses
        assert not torch.equal(a.parameters["offset"], c.parameters["offset"])
    assert not torch.equal(first[0].parameters["offset"], first[1].parameters["offset"])


def test_a_member_does_not_depend_on_the_others():
    assert torch.equal(run()[0].parameters["offset"], run(rows=ROWS[:1])[0].parameters["offset"])


def test_nothing_but_the_members_parameters_moves():
    toy = Toy()
    run(toy)
    assert torch.equal(toy.shared.detach(), torch.tensor(0.3)) and toy.shared.grad is None
    assert toy.offset is None and toy.left == 2


def test_a_member_sees_its_bootstrap_alone():
    toy, seen = Toy(), set()
    inner = toy.predict
    toy.predict = lambda x, sigma, rows: seen.update(rows.tolist()) or inner(x, sigma, rows)
    run(toy, EnsembleTrainingOptions(20, 8), rows=[torch.tensor([1, 1, 4])])
    assert seen == {1, 4}


@pytest.mark.parametrize("stop", [(0, 2), (1, 1), (1, 3)])
def test_a_stopped_run_goes_on_to_the_same_end(tmp_path, monkeypatch, stop):
    monkeypatch.setattr("uncertainty_nodes.core.ensemble.training.SAVE_EVERY", 1)
    path, steps = tmp_path / "c.safetensors", []

    def interrupt(member, step, loss):
        if (member, step) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=path, progress=interrupt)
    found = run(checkpoint=path, progress=lambda *now: steps.append(now[:2]))
    assert steps[0] == ((stop[0], stop[1] + 1)) and steps[-1] == (1, 4)
    for a, b in zip(found, run(), strict=True):
        assert torch.equal(a.parameters["offset"], b.parameters["offset"]) and a.losses == b.losses
    again = run(checkpoint=path, progress=lambda *now: pytest.fail("a finished training was done again"))
    assert torch.equal(again[1].parameters["offset"], found[1].parameters["offset"])


def test_the_model_is_left_alone_when_stopped():
    def interrupt(member, step, loss):
        raise KeyboardInterrupt

    toy = Toy()
    with pytest.raises(KeyboardInterrupt):
        run(toy, progress=interrupt)
    assert toy.offset is None and toy.left == 1


@pytest.mark.parametrize(
    ("options", "rows", "named"),
    [
        (EnsembleTrainingOptions(5, 3, 0.05, seed=2), ROWS, "steps 4, asked for is 5"),
        (OPTIONS, bootstraps(len(CLEAN), 3), "bootstraps"),
        (EnsembleTrainingOptions(4, 3, 0.06, seed=2), ROWS, "learning_rate 0.05, asked for is 0.06"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, options, rows, named):
    path = tmp_path / "c.safetensors"
    run(checkpoint=path)
    with pytest.raises(ValueError, match=f"is of a training with {named}.*delete it to begin anew"):
        run(options=options, rows=rows, checkpoint=path)


def test_bad_input_is_a_sentence():
    with pytest.raises(ValueError, match="^The ensemble is empty"):
        run(rows=[])
    with pytest.raises(ValueError, match="^The bootstrap of member 1 must name at least one of the 6 samples, and no other.$"):
        run(rows=[torch.tensor([6])])
    toy = Toy()
    training = Training(toy.predict, Process.VP, Prediction.EPS, LEVELS)
    broken = CLEAN.clone()
    broken[3, 0, 0, 0] = math.inf
    with pytest.raises(ValueError, match="^Training sample 3 holds NaN or infinite values: leave it out.$"):
        train(training, broken, ROWS, toy.enter, 0.1, OPTIONS)
    toy.predict = lambda x, sigma, rows: x * toy.offset.sum() * math.nan
    with pytest.raises(ValueError, match="^The loss of member 1 at step 1 is not finite: train with a smaller learning rate.$"):
        run(toy)
