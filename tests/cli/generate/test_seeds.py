"""generate --seed draws other images; what scores them is the same in every run, so that runs can be compared and calibrated together."""

from __future__ import annotations

import pytest
import torch

from drawing_runs import STEPS, draw, rows, saved
from uncertainty_nodes.core.options import DrawOptions, InformationOptions
from uncertainty_nodes.hosts.diffusers.demo import conditions, load_demo, sample, seed_of
from uncertainty_nodes.hosts.diffusers.information import information

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' use of numpy


@pytest.mark.parametrize("seed", [0, 3])
def test_scores_are_those_of_the_same_draws_whatever_the_seed(tmp_path, seed):
    assert draw(tmp_path, "-n", 2, "--seed", seed) == 0
    network, scheduler = load_demo()
    options = InformationOptions(DrawOptions(samples=2, antithetic=True))
    for number, row in rows(tmp_path).items():
        noise = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(seed_of(seed, number)))
        label = torch.tensor([number])
        latent = sample(network, scheduler, noise, label, STEPS)
        assert row["score"] == pytest.approx(
            float(information(network, scheduler, latent, *conditions(label), options).result.scores), rel=1e-3
        )


def test_images_that_an_older_version_scored_with_their_own_seed_are_not_mixed_with_these(tmp_path, caplog, monkeypatch):
    from uncertainty_nodes.cli.generate import models

    assert draw(tmp_path / "zero", "-n", 1) == 0 and saved(tmp_path / "zero")["options"]["seed"] == 0  # as ever
    with monkeypatch.context() as patch:
        fingerprint = models.fingerprint
        patch.setattr("uncertainty_nodes.cli.generate.run.fingerprint", lambda options: fingerprint(options) | {"seed": options.seed})
        assert draw(tmp_path / "three", "-n", 1, "--seed", 3) == 0
    assert draw(tmp_path / "three", "-n", 2, "--seed", 3) == 1
    assert "made with other options (seed)" in caplog.text
