"""What keeps the tree easy to find one's way in: few entries a folder, one class a name, and no range outside ``core/options``."""

from __future__ import annotations

import ast
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_ENTRIES = 16
# what hosts and tools look for in a root, a page a node, a pair of files a template, a file a figure
FORCED = {".", "web/docs", "example_workflows", "benchmarks/results"}
RANGE_KEYWORDS = {"min", "max", "minimum", "maximum"}
RANGE_CALLS = {"Bounds", "bounded", "whole", "real"}


def tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is not a git checkout: clone the repository to run this test")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def entries(files: list[str]) -> dict[str, set[str]]:
    """What stands in each folder, leaving out hidden files and ``__init__.py``, which are not for reading one's way."""
    folders: dict[str, set[str]] = defaultdict(set)
    for name in files:
        parts = name.split("/")
        for depth, part in enumerate(parts):
            if not part.startswith(".") and part != "__init__.py":
                folders["/".join(parts[:depth]) or "."].add(part)
    return folders


def is_number(node: ast.expr) -> bool:
    node = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)


def range_literals(source: str) -> list[int]:
    """Lines where a number stands as an end of a range: ``min=1``, ``whole(1, 100)``, ``choices=range(10)``."""
    lines = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        lines += [call.lineno for keyword in call.keywords if keyword.arg in RANGE_KEYWORDS and is_number(keyword.value)]
        lines += [call.lineno for argument in call.args if called in RANGE_CALLS and is_number(argument)]
        ranges = [k.value for k in call.keywords if k.arg == "choices" and isinstance(k.value, ast.Call)]
        lines += [call.lineno for choice in ranges for argument in choice.args if is_number(argument)]
    return lines


def classes(files: list[str]) -> dict[str, list[str]]:
    """Public top-level class -> the files that define one of this name."""
    where: dict[str, list[str]] = defaultdict(list)
    for name in files:
        for node in ast.parse((ROOT / name).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(name)
    return where


def python_files(*folders: str) -> list[str]:
    return [name for name in tracked_files() if name.endswith(".py") and name.startswith(folders)]


def test_entries_are_counted():
    assert {folder: len(names) for folder, names in entries(["a/b.py", "a/c/d.py", "a/__init__.py", ".x"]).items()} == {
        ".": 1,
        "a": 2,
        "a/c": 1,
    }


def test_range_literals_are_seen():
    bad = ["f(min=1)", "io.Float.Input('x', max=-1.0)", "whole(1, LIMIT)", "add(type=real(0.5))", "add(choices=range(10))"]
    assert all(len(range_literals(source)) == 1 for source in bad)
    good = "f(min=LOW, max=bounds.high)\nmax(1, x)\nwhole(bounds)\nf(default=1)\nx.clamp(min=LOW)"
    assert range_literals(good) == []


def test_folders_are_small():
    counts = {folder: len(names) for folder, names in entries(tracked_files()).items() if folder not in FORCED}
    crowded = {folder: count for folder, count in counts.items() if count > MOST_ENTRIES}
    assert not crowded, f"more than {MOST_ENTRIES} entries; give what belongs together a folder of its own: {crowded}"


def test_ranges_stand_in_the_options_alone():
    lines = {name: range_literals((ROOT / name).read_text(encoding="utf-8")) for name in python_files("nodes/", "cli/")}
    literal = {name: numbers for name, numbers in lines.items() if numbers}
    assert not literal, f"numbers as ends of ranges, by line; declare them in core/options and read them from there: {literal}"


def test_a_public_class_has_a_name_of_its_own():
    taken = {name: files for name, files in classes(python_files("core/", "hosts/")).items() if len(files) > 1}
    assert not taken, f"two public classes of one name: {taken}"
