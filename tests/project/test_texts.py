"""No text of the repository names a place on one machine or a package registry."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {"", ".py", ".md", ".toml", ".yml", ".yaml", ".json", ".js", ".html", ".txt"}
FOREIGN = re.compile(
    r"(?<![\w.~*}/-])/(?:work|root|home|Users|opt|mnt)/"
    r"|pypi\.org|pythonhosted\.org|download\.pytorch\.org|registry\.npmjs"  # where packages come from is the user's choice
)


def test_what_is_foreign():
    for text in ["data in /home/anna/x", '"/mnt/disk/x"', "--index-url https://pypi.org/simple"]:
        assert FOREIGN.search(text)
    assert not FOREIGN.search("https://example.com/home/x ~/work/x $HOME/work/ ./opt/x homework/opt/")


def test_no_text_is_foreign():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    texts = [p for p in paths if p.suffix in TEXTS and p.is_file() and p != Path(__file__).resolve()]
    assert len(texts) > 10
    found = [f"{p.relative_to(ROOT)}: {match[0]}" for p in texts for match in FOREIGN.finditer(p.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)
