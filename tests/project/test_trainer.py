"""Training of the benchmarks' models: what it draws, and that a stop leaves no mark."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.bundle.train_colour import colour_config
from uncertainty_nodes.benchmarks.bundle.trainer import Plan, Trainer

SMALL = colour_config(16)


@pytest.fixture(scope="module")
def pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(40, 3, 32, 32, generator=generator) * 2 - 1, torch.arange(40) % 10


def trained(out: Path, pictures: tuple[Tensor, Tensor], stops: list[int]) -> Trainer:
    """After as many steps as the last stop says, begun anew from the checkpoint at each one before."""
    plan = Plan(out, stops[-1], 1e-3, flip=True, batch=8, save_every=1)
    for stop in stops:
        torch.manual_seed(0)
        trainer = Trainer(plan, SMALL)
        trainer.network.train()
        while trainer.step < stop:
            trainer.train_step(*pictures)
        trainer.save()
    return trainer


def test_a_run_that_stops_and_goes_on_ends_with_the_same_weights(tmp_path, pictures):
    whole, broken = trained(tmp_path / "whole", pictures, [4]), trained(tmp_path / "broken", pictures, [2, 4])
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(weight, broken.network.state_dict()[name]), name
        assert torch.equal(whole.mean[name], broken.mean[name]), name


def test_every_drawn_level_is_one_of_the_process(tmp_path, pictures, monkeypatch):
    """The greatest number that rand may give, by which the last level of a large batch is rounded up to 1."""
    below_one = 1 - 2**-24
    monkeypatch.setattr(torch, "rand", lambda count, **options: torch.full((count,), below_one))
    trainer = Trainer(Plan(tmp_path, 1, 1e-3, batch=512), SMALL)
    _, _, t, _ = trainer.batch(*pictures)
    assert int(t.min()) >= 0 and int(t.max()) == 999
