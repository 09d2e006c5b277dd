"""What make bench runs, and how what was measured is kept."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")

from uncertainty_nodes.benchmarks import all as bench  # noqa: E402
from uncertainty_nodes.benchmarks.shared import common  # noqa: E402

CPU, GPU = Namespace(full=True, device="cpu", photos=None), Namespace(full=True, device="cuda", photos=Path("photos"))


@pytest.mark.parametrize("name", bench.BENCHMARKS)
def test_every_benchmark_is_a_script_that_is_there(name):
    assert Path(bench.command(name, CPU)[1]).is_file()


def test_photos_are_few_on_a_processor():
    few, many = (bench.command("quality/filtering --colour --cfg 2", a) for a in (CPU, GPU))
    assert few[few.index("--images") + 1] == "10" and many[many.index("--images") + 1] == "750" and many[-2:] == ["--device", "cuda"]
    assert "2000" in bench.command("quality/best_of --free", CPU)  # digits are many there too
    assert bench.command("quality/paper --colour", GPU)[-2:] == ["--photos", "photos"]


def test_the_promise_is_measured_on_the_pools_of_photos_after_they_are_written():
    order = list(bench.BENCHMARKS)
    for scale, name in (("1", "quality/filtering --colour"), ("2", "quality/filtering --colour --cfg 2")):
        written = bench.command(name, GPU)
        pool = written[written.index("--pool") + 1]
        assert f"{scale}={pool}" in bench.command("quality/risk", GPU) and order.index(name) < order.index("quality/risk")


def test_what_was_measured_tells_where_and_is_measured_anew_with_other_options(tmp_path):
    path, made = tmp_path / "chunk.safetensors", []

    def measure() -> dict[str, torch.Tensor]:
        made.append(1)
        return {"x": torch.ones(2) * len(made)}

    for options, expected in (("a", 1), ("a", 1), ("b", 2), ("b", 2)):
        assert torch.equal(common.kept(path, options, measure)["x"], torch.full((2,), float(expected)))
    assert common.drawn_on([path]) == common.provenance()["device"]


def test_a_command_is_told_without_the_folders_of_a_machine(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["risk.py", "--work", "out/free", "--pools", "1=/data/me/a.pool", "2=b.pool", "/data/me/photos"])
    assert common.provenance()["command"].endswith("--work out/free --pools 1=a.pool 2=b.pool photos")
