"""The bundled ensemble belongs to the bundled model and knows which digits it has seen little of."""

from __future__ import annotations

import hashlib

import pytest
import torch

from uncertainty_nodes.core.demo.network import read_ensemble
from uncertainty_nodes.core.options import EnsembleKind, EnsembleOptions
from uncertainty_nodes.hosts.diffusers.demo import NO_CLASS, starting_noise
from uncertainty_nodes.hosts.diffusers.ensemble.decu import decu
from uncertainty_nodes.hosts.diffusers.ensemble.members import TableMembers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' use of numpy


def counts():
    return [int(count) for count in read_ensemble().provenance["class_counts"].split(",")]


def test_it_belongs_to_the_bundled_model_whose_weights_its_training_left(demo):
    network, ensemble = demo[0], read_ensemble()
    ensemble.check(network)
    assert ensemble.kind is EnsembleKind.CLASS_EMBEDDING and len(ensemble) == 5
    found = hashlib.sha256()
    for name, weight in network.state_dict().items():
        found.update(name.encode() + weight.numpy().tobytes())
    assert found.hexdigest() == ensemble.provenance["frozen_weights"]
    for member in ensemble.members:
        assert torch.equal(member.tensors["class_embedding.weight"][NO_CLASS], network.class_embedding.weight[NO_CLASS])


def test_training_lowered_every_members_loss():
    for member in read_ensemble().members:
        assert sum(member.losses[-50:]) < 0.7 * sum(member.losses[:50])


def test_scarce_digits_are_less_sure_than_plentiful_ones(demo):
    few, many = (torch.tensor([c for c, n in enumerate(counts()) if low < n < high][:3]) for low, high in ((0, 100), (5000, 9000)))
    labels = torch.cat([few, many])
    found = decu(*demo, starting_noise(6, 3), TableMembers(demo[0], read_ensemble(), labels), 8, EnsembleOptions())
    for result in (found.information, found.distance):
        assert float(result.scores[:3].mean()) > 1.5 * float(result.scores[3:].mean())
