"""The parts of the front-end that need no page, in Node's own test runner."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from node_js import NODE, has_modules

HERE = Path(__file__).parent / "js"
WEB = Path(__file__).parents[2] / "web" / "js"
TEXTS = sorted(path for path in WEB.glob("*/words.js") if path.parent.name != "shared")  # what is shared picks from these


@pytest.mark.skipif(not has_modules(), reason="no Node 20.19 or newer: apt-get install nodejs")
@pytest.mark.parametrize("path", sorted(HERE.glob("*.test.js")), ids=lambda path: path.stem)
def test_pure_parts_of_the_front_end(path: Path) -> None:
    done = subprocess.run([NODE, "--no-warnings", "--test", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"# pass (\d+)", done.stdout).group(1)) > 0


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.parent.name)
def test_no_text_stands_in_the_place_of_another(path: Path) -> None:
    """JavaScript takes the last of two entries of one name, and says nothing."""
    languages = re.split(r"^  \w+: \{$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert languages
    for language in languages:
        names = re.findall(r"^    (\w+):", language, flags=re.MULTILINE)
        assert names and len(set(names)) == len(names)
