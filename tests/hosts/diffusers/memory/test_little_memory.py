"""Memory that really runs out, on the processor: the system refuses it, and the work goes on in smaller calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes to the system, not to the next who asks
JOB = Path(__file__).parents[3] / "support" / "diffusers" / "little_memory.py"


def in_less_and_less_memory(what: str) -> list[dict[str, Any]]:
    """What came of the work in each amount of memory, down to the first that was too small."""
    environment = {**os.environ, **GIVEN_BACK, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(JOB), what]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=600)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("search", "Out of memory: starting again with 32 candidates in a call."),
        ("scores", "Out of memory in the uncertainty passes: going on with 32 draws per call."),
    ],
)
def test_what_does_not_fit_goes_on_in_smaller_calls(what, said):
    *enough, too_little = in_less_and_less_memory(what)
    assert enough and all(result == {"warnings": [], "difference": 0} for result in enough)
    assert too_little["warnings"][0] == said
    assert too_little["difference"] < 1e-4
