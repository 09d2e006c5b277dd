"""What the tests of the benchmarks share: a benchmark by its name, and running it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from uncertainty_nodes.benchmarks.shared import common


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Any]:
    """name -> the benchmark's module, writing to a temporary folder."""
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    return lambda name: importlib.import_module(f"uncertainty_nodes.benchmarks.{name}")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """run(module, arguments ..): as from the command line."""

    def call(module: ModuleType, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        module.main()

    return call
