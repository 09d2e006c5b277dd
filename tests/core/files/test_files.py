"""Artefacts are whole, named and versioned, or refused in one sentence."""

from __future__ import annotations

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from uncertainty_nodes.core.files import load_tensors, locked, remove_all_leftovers, remove_leftovers, replacing, save_tensors


def saved(path, kind="calibration", version=1):
    base = torch.arange(6.0)
    save_tensors(path, {"a": base.view(2, 3).T, "b": base, "empty": torch.zeros(0, 2)}, kind, version, {"note": "ü", "n": [1, 2]})
    return base


def test_round_trip_keeps_views_shared_memory_and_metadata(tmp_path):
    base = saved(tmp_path / "new" / "folder" / "x.safetensors")
    tensors, metadata = load_tensors(tmp_path / "new" / "folder" / "x.safetensors", "calibration")
    assert torch.equal(tensors["a"], base.view(2, 3).T)
    assert torch.equal(tensors["b"], base)
    assert tensors["empty"].shape == (0, 2)
    assert metadata == {"note": "ü", "n": [1, 2]}
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["x.safetensors"]


def test_a_new_file_takes_the_place_of_the_earlier_one_at_once(tmp_path):
    saved(tmp_path / "x")
    earlier = (tmp_path / "x").stat().st_ino
    saved(tmp_path / "x")
    # overwritten in place it would be the same file, half old and half new for a moment
    assert (tmp_path / "x").stat().st_ino != earlier


def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("before")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_write_left_is_found_again_and_nothing_else_is(tmp_path):
    letters, names = "ab", ["x.json", "y.json"]
    for name in names:
        with replacing(tmp_path / name) as temporary:
            temporary.write_text(name)
            for letter in letters:  # as two processes leave them that were killed here
                (tmp_path / f"{temporary.name.removesuffix('.tmp')[:-32]}{letter * 32}.tmp").write_text("half")
    for other in (".x.json.mine.tmp", "x.json.tmp", ".hidden"):
        (tmp_path / other).write_text("of a person")
    os.utime(tmp_path / f".x.json.{'a' * 32}.tmp", (0, 0))
    remove_leftovers(tmp_path / "x.json", seconds=60)
    assert sorted(path.name[:9] for path in tmp_path.glob(".*.json.[ab]*.tmp")) == [".x.json.b", ".y.json.a", ".y.json.b"]
    remove_all_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", ".x.json.mine.tmp", *names[:1], "x.json.tmp", *names[1:]]


def test_metadata_that_is_no_json_writes_nothing(tmp_path):
    with pytest.raises(TypeError):
        save_tensors(tmp_path / "x", {"a": torch.zeros(1)}, "calibration", 1, {"bad": object()})
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OSError, match=r"^Could not write '.*x' \((Not a directory|File exists)\); choose a folder that exists, is writable"
    ):
        save_tensors(tmp_path / "file" / "x", {"a": torch.zeros(1)}, "calibration", 1, {})


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file .*nowhere"):
        load_tensors(tmp_path / "nowhere", "calibration")


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_truncated_file(tmp_path, keep):
    saved(tmp_path / "x")
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:keep])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_tensors(tmp_path / "x", "calibration")


def test_foreign_files(tmp_path):
    (tmp_path / "text").write_text("hello, this is no safetensors file at all")
    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    saved(tmp_path / "kind", kind="laplace")
    for name, match in (("text", "not a whole"), ("other", "another program"), ("kind", "not a saved calibration but laplace")):
        with pytest.raises(ValueError, match=match):
            load_tensors(tmp_path / name, "calibration")


def test_newer_version_is_refused_and_older_read(tmp_path):
    saved(tmp_path / "x", version=2)
    with pytest.raises(ValueError, match="format 2, this version reads up to 1"):
        load_tensors(tmp_path / "x", "calibration")
    assert load_tensors(tmp_path / "x", "calibration", version=3)[1]["n"] == [1, 2]


@pytest.mark.parametrize("change", [{"version": "one"}, {"metadata": "{"}, {"metadata": json.dumps([1])}])
def test_damaged_header(tmp_path, change):
    header = {"producer": "uncertainty_nodes", "kind": "calibration", "version": "1", "metadata": "{}"}
    save_file({"a": torch.zeros(1)}, tmp_path / "x", header | change)
    with pytest.raises(ValueError, match="damaged header"):
        load_tensors(tmp_path / "x", "calibration")


def test_a_lock_is_waited_for_and_given_up_after_an_error(tmp_path):
    waits = []

    def stop():
        waits.append(1)
        if len(waits) == 3:
            raise KeyboardInterrupt

    with locked(tmp_path / "x"):
        with (
            pytest.raises(TimeoutError, match="Another process has been writing .*x' for 0 s; end it, or use another name"),
            locked(tmp_path / "x", 0),
        ):
            pass
        with pytest.raises(KeyboardInterrupt), locked(tmp_path / "x", 60, stop):
            pass
        with locked(tmp_path / "y"):  # another file is free
            pass
    assert len(waits) == 3
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "x"):
        1 / 0  # noqa: B018
    with locked(tmp_path / "x", 0):
        pass


def test_a_folder_that_cannot_be_written_has_no_lock(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="choose a folder that exists, is writable"), locked(tmp_path / "file" / "x"):
        pass
