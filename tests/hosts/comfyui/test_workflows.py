"""Every example workflow: those that need no big model run to the end, the others use nothing that isn't there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfy_server import Server
from comfy_workflow import NOTES, to_prompt
from examples import EXAMPLES as SHEETS
from examples import NEEDED_FIRST

FOLDER = Path(__file__).resolve().parents[3] / "example_workflows"
EXAMPLES = sorted(FOLDER.glob("*.json"))
AS_BROWSER = {"extra_pnginfo": {"workflow": {"nodes": []}}}  # what scores are written into files with
SECONDS = 600  # far more than it takes, for busy machines: only one that never ends fails


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_there_are_examples_each_with_a_thumbnail() -> None:
    assert len(EXAMPLES) >= 5
    assert {p.stem for p in EXAMPLES} == {p.stem for p in FOLDER.glob("*.jpg")}
    assert all(p.stat().st_size < 200_000 for p in FOLDER.iterdir())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_only_core_nodes_and_ours_are_used(comfy: Server, path: Path) -> None:
    known = comfy.object_info()
    ours = {name for name, info in known.items() if info["python_module"] == "custom_nodes.uncertainty-nodes"}
    stock = {name for name, info in known.items() if not info["python_module"].startswith("custom_nodes.")}
    used = {node["type"] for node in read(path)["nodes"]}
    assert used <= ours | stock | NOTES
    assert used & ours and used & NOTES


@pytest.mark.parametrize("path", [p for p in EXAMPLES if "demo" in p.stem], ids=lambda p: p.stem)
def test_it_runs_to_the_end(comfy: Server, path: Path) -> None:
    known = comfy.object_info()
    if path.stem in NEEDED_FIRST:
        comfy.run(to_prompt(read(FOLDER / f"{NEEDED_FIRST[path.stem]}.json"), known), timeout=SECONDS, extra_data=AS_BROWSER)
    prompt = to_prompt(read(path), known)
    history = comfy.run(prompt, timeout=SECONDS, extra_data=AS_BROWSER)
    viewers = [id for id, node in prompt.items() if node["class_type"] in ("SaveImage", "PreviewImage", "UQ_Report")]
    assert len(viewers) >= 3
    assert all(history.outputs[id]["images"] for id in viewers)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_input_has_a_value_or_a_wire(comfy: Server, path: Path) -> None:
    known = comfy.object_info()
    for node in to_prompt(read(path), known).values():
        assert set(known[node["class_type"]]["input"].get("required", {})) <= node["inputs"].keys()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_its_file_says_what_its_code_says(comfy: Server, path: Path) -> None:
    sheet, workflow = SHEETS[path.stem](), read(path)
    prompt = to_prompt(workflow, comfy.object_info())
    assert {id: node["class_type"] for id, node in prompt.items()} == {id: node["class_type"] for id, node in sheet.graph.items()}
    for id, node in sheet.graph.items():
        assert {name: prompt[id]["inputs"][name] for name in node["inputs"]} == node["inputs"]
    assert [node["widgets_values"][0] for node in workflow["nodes"] if node["type"] in NOTES] == [sheet.note]
