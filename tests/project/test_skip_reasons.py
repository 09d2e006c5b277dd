"""What a run tells about skipped tests: tried with a run of pytest on a file of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
SAMPLE = """
import pytest

def test_a():
    pytest.skip("no kettle: buy one")

@pytest.mark.skip(reason="no kettle: buy one")
def test_b(): pass

def test_c():
    pytest.importorskip("a_module_that_nobody_has")

def test_d(): pass
"""


def run(folder: Path, source: str) -> str:
    (folder / "test_sample.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "skip_reasons", "--rootdir", str(folder), "-c", os.devnull, "test_sample.py"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stdout


def test_each_reason_is_told_once_with_its_count(tmp_path):
    lines = run(tmp_path, SAMPLE).splitlines()
    assert "2 skipped: no kettle: buy one" in lines
    told = [line for line in lines if line.startswith("1 skipped: could not import 'a_module_that_nobody_has'")]
    assert len(told) == 1 and told[0].endswith("`make test` installs it")


def test_nothing_is_told_where_nothing_was_skipped(tmp_path):
    assert "how to run it" not in run(tmp_path, "def test_d(): pass")
