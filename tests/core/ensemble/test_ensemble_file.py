"""An ensemble comes back from its file as it was, is told from another model's, and is exported as ordinary files."""

from __future__ import annotations

import re

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from uncertainty_nodes.core.ensemble.file import EnsembleParameters, MemberParameters
from uncertainty_nodes.core.files import save_tensors
from uncertainty_nodes.core.last_layer.find import Identity
from uncertainty_nodes.core.options import EnsembleKind


class Net(nn.Module):
    def __init__(self, width: int = 2, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv_in, self.conv_out = nn.Conv2d(1, width, 1), nn.Conv2d(width, 1, 1)


def member(k: int = 0, shape: tuple[int, ...] = (2, 3), name: str = "") -> MemberParameters:
    generator = torch.Generator().manual_seed(k)
    return MemberParameters(name or f"member {k}", {"clip_l": torch.randn(shape, generator=generator)}, (0.5, 0.25 / (k + 1)))


def ensemble(count: int = 2, kind: EnsembleKind = EnsembleKind.EMBEDDING, net: nn.Module | None = None) -> EnsembleParameters:
    identity = None if net is None else Identity.of(net, "conv_out")
    return EnsembleParameters(kind, tuple(member(k) for k in range(count)), identity, {"seed": "0"})


@pytest.mark.parametrize("net", [None, Net()])
@pytest.mark.parametrize("kind", EnsembleKind)
def test_a_file_gives_back_what_was_saved(tmp_path, kind, net):
    made = ensemble(3, kind, net)
    made.save(tmp_path / "e.safetensors")
    found = EnsembleParameters.load(tmp_path / "e.safetensors")
    assert (found.kind, found.names, found.identity, found.provenance) == (kind, made.names, made.identity, made.provenance)
    for before, after in zip(made.members, found.members, strict=True):
        assert after.equals(before) and after.losses == before.losses
    assert [p.name for p in tmp_path.iterdir()] == ["e.safetensors"]


def test_names_with_dots_come_back(tmp_path):
    made = EnsembleParameters(EnsembleKind.LORA, (MemberParameters("a", {"transformer.x.0.lora_A.weight": torch.ones(1, 2)}),))
    made.save(tmp_path / "e.safetensors")
    assert list(EnsembleParameters.load(tmp_path / "e.safetensors").members[0].tensors) == ["transformer.x.0.lora_A.weight"]


def test_another_model_is_told_apart():
    made = ensemble(net=Net())
    made.check(Net())
    ensemble().check(Net(3))  # nothing is known of where it belongs
    with pytest.raises(ValueError, match="^This ensemble is for other weights of layer 'conv_out' than this model has; load the model"):
        made.check(Net(seed=1))
    with pytest.raises(ValueError, match="^This ensemble is for a model of another architecture"):
        made.check(Net(3))


def test_equal_members_have_one_name():
    a, b = member(0), member(1)
    made = EnsembleParameters(EnsembleKind.EMBEDDING, (a, b, copied("c", a), copied("d", b)))
    assert made.distinct == ["member 0", "member 1", "member 0", "member 1"]


def copied(name: str, like: MemberParameters) -> MemberParameters:
    return MemberParameters(name, {key: tensor.clone() for key, tensor in like.tensors.items()})


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ([], "The ensemble is empty: give at least one member, two to compare them."),
        ([member(0), member(1, name="member 0")], "Two members have the name 'member 0': give each one of its own."),
        (
            [member(0), member(1, (2, 4))],
            "All members must have tensors of one shape: 'member 0' has {'clip_l': (2, 3)}, 'member 1' has {'clip_l': (2, 4)}.",
        ),
        (
            [MemberParameters("x", {"clip_l": torch.tensor([float("nan")])})],
            "Member 'x' is empty, or holds NaN or infinite values: leave it out, or train it again.",
        ),
        ([MemberParameters("x", {})], "Member 'x' is empty, or holds NaN or infinite values: leave it out, or train it again."),
    ],
)
def test_members_that_cannot_be(members, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        EnsembleParameters(EnsembleKind.EMBEDDING, tuple(members))


def test_loras_may_have_different_ranks():
    assert len(EnsembleParameters(EnsembleKind.LORA, (member(0), member(1, (4, 3))))) == 2


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="give the path of a saved ensemble"):
        EnsembleParameters.load(tmp_path / "none.safetensors")
    path = tmp_path / "e.safetensors"
    save_tensors(path, {"a": torch.ones(1)}, "uncertainty", 1, {})
    with pytest.raises(ValueError, match="is not a saved ensemble but uncertainty"):
        EnsembleParameters.load(path)
    save_tensors(path, {"5.a": torch.ones(1)}, "ensemble", 1, {"members": [{"name": "a", "losses": []}]})
    with pytest.raises(ValueError, match="is not a whole saved ensemble"):
        EnsembleParameters.load(path)
    ensemble().save(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        EnsembleParameters.load(path)


def test_an_exported_member_is_an_ordinary_file(tmp_path):
    made = ensemble(2)
    paths = made.export(tmp_path / "new", "style")
    assert [p.name for p in paths] == ["style_1.safetensors", "style_2.safetensors"]
    for path, each in zip(paths, made.members, strict=True):
        found = load_file(path)
        assert found.keys() == each.tensors.keys()
        assert all(torch.equal(found[name], each.tensors[name]) for name in found)


def test_tables_are_not_exported(tmp_path):
    with pytest.raises(ValueError, match="^Members of kind 'class_embedding' have no file format of their own"):
        ensemble(kind=EnsembleKind.CLASS_EMBEDDING).export(tmp_path, "x")
    assert not list(tmp_path.iterdir())
