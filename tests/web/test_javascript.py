"""The parts of the front-end that need no page, in Node's own test runner."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from node_js import NODE, has_modules

HERE = Path(__file__).parent / "js"


@pytest.mark.skipif(not has_modules(), reason="no Node 20.19 or newer: apt-get install nodejs")
@pytest.mark.parametrize("path", sorted(HERE.glob("*.test.js")), ids=lambda path: path.stem)
def test_pure_parts_of_the_front_end(path: Path) -> None:
    done = subprocess.run([NODE, "--no-warnings", "--test", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"# pass (\d+)", done.stdout).group(1)) > 0
