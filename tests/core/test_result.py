"""A result keeps one batch together, and comes back from a file whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from uncertainty_nodes.core import files
from uncertainty_nodes.core.options import Direction
from uncertainty_nodes.core.result import KIND, Uncertainty, concatenate

TENSORS = ("maps", "scores", "curve", "sigmas")


def made(batch: int = 3, seed: int = 0, **changes) -> Uncertainty:
    g = torch.Generator().manual_seed(seed)
    values = {
        "maps": torch.rand(batch, 2, 4, 5, generator=g),
        "scores": torch.rand(batch, generator=g),
        "curve": torch.rand(2, batch, generator=g),
        "sigmas": torch.tensor([0.8, 0.4]),
        "direction": Direction.HIGH_IS_BAD,
        "quantity": "denoised",
        "nfe": 10.0,
        "seconds": 0.25,
        "provenance": {"seed": "7", "prompt": "日本語 \n"},
    }
    return Uncertainty(**values | changes)


def assert_same(a: Uncertainty, b: Uncertainty) -> None:
    for name in TENSORS:
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    for name in ("direction", "quantity", "nfe", "seconds", "provenance"):
        assert getattr(a, name) == getattr(b, name), name


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_a_file_gives_back_what_was_saved(tmp_path, direction, batch):
    result = made(batch, direction=direction)
    result.save(tmp_path / "result.safetensors")
    assert_same(Uncertainty.load(tmp_path / "result.safetensors"), result)


def test_views_and_shared_memory_are_saved(tmp_path):
    base = torch.rand(2, 4, 5, 2)
    result = made(2, maps=base.permute(0, 3, 1, 2), scores=base[:, 0, 0, 0])
    result.save(tmp_path / "x")
    assert_same(Uncertainty.load(tmp_path / "x"), result)


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """A real write that stops half way, as on a full disk: the system refuses to let any file grow beyond ``size`` bytes."""
    resource = pytest.importorskip("resource", reason="this system can't limit the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_save_that_fails_half_way_keeps_the_earlier_file(tmp_path):
    path, earlier = tmp_path / "result.safetensors", made(seed=1)
    earlier.save(path)
    with files_end_at(100), pytest.raises(OSError, match=r"Could not write .*result.safetensors' \(.*too large\); choose a folder"):
        made(seed=2).save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["result.safetensors"]
    assert_same(Uncertainty.load(path), earlier)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file .*nowhere"):
        Uncertainty.load(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    made().save(tmp_path / "x")
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:keep])
    with pytest.raises(ValueError, match="'.*x' is not a whole safetensors file"):
        Uncertainty.load(tmp_path / "x")


def test_a_foreign_file_is_refused(tmp_path):
    save_file({name: torch.zeros(1) for name in TENSORS}, tmp_path / "foreign")
    with pytest.raises(ValueError, match="'.*foreign' is not a saved uncertainty but a file of another program"):
        Uncertainty.load(tmp_path / "foreign")


GOOD = {"direction": "high_is_bad", "quantity": "denoised", "nfe": 1.0, "seconds": 1.0, "provenance": {}}


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"maps": None}, {}),
        ({"surplus": torch.zeros(1)}, {}),
        ({"scores": torch.zeros(4)}, {}),
        ({"sigmas": torch.zeros(5)}, {}),
        ({}, {"direction": "sideways"}),
        ({}, {"direction": None}),
        ({}, {"nfe": None}),
        ({}, {"maps": 1}),
    ],
)
def test_a_damaged_file_is_named(tmp_path, tensors, metadata):
    whole = {name: getattr(made(), name) for name in TENSORS}
    kept = {name: value for name, value in (whole | tensors).items() if value is not None}
    header = {name: value for name, value in (GOOD | metadata).items() if value is not None}
    files.save_tensors(tmp_path / "x", kept, KIND, 1, header)
    with pytest.raises(ValueError, match="'.*x' is not a whole saved uncertainty .*; make or copy it again"):
        Uncertainty.load(tmp_path / "x")


def test_the_file_is_plain_safetensors(tmp_path):
    result = made()
    result.save(tmp_path / "x")
    assert torch.equal(load_file(tmp_path / "x")["maps"], result.maps)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("maps", (2, 2, 4, 5)),
        ("maps", (3,)),
        ("scores", (3, 1)),
        ("scores", ()),
        ("curve", (3, 2)),
        ("curve", (2,)),
        ("sigmas", (3,)),
        ("sigmas", ()),
    ],
)
def test_shapes_that_disagree_are_refused(name, shape):
    with pytest.raises(ValueError, match=rf"must describe one batch over the same steps, got .*{name} \({', '.join(map(str, shape))}"):
        made(**{name: torch.zeros(shape)})


def test_badness_points_up_whatever_the_direction():
    up, down = made(), made(direction=Direction.LOW_IS_BAD)
    assert torch.equal(up.badness, up.scores)
    assert torch.equal(up.bad_maps, up.maps)
    assert torch.equal(down.badness, -up.scores)
    assert torch.equal(down.bad_maps, -up.maps)


def test_errors_lie_where_the_condition_gap_is_high_though_low_is_bad_among_images():
    gap = made(direction=Direction.LOW_IS_BAD, quantity="condition_gap")
    assert torch.equal(gap.badness, -gap.scores)
    assert gap.map_direction is Direction.HIGH_IS_BAD
    assert torch.equal(gap.bad_maps, gap.maps)


@given(st.lists(st.integers(0, 4), max_size=8))
def test_select_takes_every_part_in_the_order_given(indexes):
    result = made(5)
    chosen = result.select(indexes)
    assert len(chosen) == len(indexes)
    for place, index in enumerate(indexes):
        assert torch.equal(chosen.maps[place], result.maps[index])
        assert chosen.scores[place] == result.scores[index]
        assert torch.equal(chosen.curve[:, place], result.curve[:, index])
    assert torch.equal(chosen.sigmas, result.sigmas)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_parts_of_a_batch_join_to_the_whole(sizes):
    whole = made(sum(sizes))
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    joined = concatenate([whole.select(range(start, start + size)) for start, size in zip(starts, sizes, strict=True)])
    for name in TENSORS:
        assert torch.equal(getattr(joined, name), getattr(whole, name))
    assert joined.nfe == pytest.approx(10.0)
    assert joined.seconds == pytest.approx(0.25 * len(sizes))


def test_joined_cost_weighs_each_image_alike():
    assert concatenate([made(1, nfe=10.0), made(3, nfe=20.0)]).nfe == 17.5


def test_results_without_steps_join():
    parts = [made(2, curve=torch.zeros(0, 2), sigmas=torch.zeros(0)) for _ in range(2)]
    assert concatenate(parts).curve.shape == (0, 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"direction": Direction.LOW_IS_BAD},
        {"quantity": "noise"},
        {"maps": torch.zeros(3, 2, 4, 6)},
        {"sigmas": torch.tensor([0.8, 0.3])},
        {"sigmas": torch.tensor([0.8]), "curve": torch.zeros(1, 3)},
    ],
)
def test_results_made_in_other_ways_do_not_join(changes):
    with pytest.raises(ValueError, match="can only be joined when direction, quantity, map size and steps agree"):
        concatenate([made(), made(**changes)])


def test_nothing_cannot_be_joined():
    with pytest.raises(ValueError, match="There is no result to join: give at least one"):
        concatenate([])


def test_results_can_be_compared_and_hashed():
    a, b = made(), made()
    assert a == a
    assert a != b
    assert len({a, b}) == 2
