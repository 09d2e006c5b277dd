"""Writes locales/en/nodeDefs.json from what the nodes say of themselves, for translators to start from.

COMFYUI_PATH=~/comfy/ComfyUI COMFYUI_PYTHON=... python tests/support/web/write_locale.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
LOCALES = ROOT / "locales"


def node_texts(info: Mapping[str, Any]) -> dict[str, Any]:
    """One node's entry in the form that the front-end reads."""
    declared = {name: spec for part in ("required", "optional") for name, spec in info["input"].get(part, {}).items()}
    outputs = zip(info["output_name"], info["output_tooltips"], strict=True)
    texts = {
        "display_name": info["display_name"],
        "description": info["description"],
        "inputs": {name: {"name": name, "tooltip": spec[1]["tooltip"]} for name, spec in declared.items()},
        "outputs": {str(i): {"name": name, "tooltip": tooltip} for i, (name, tooltip) in enumerate(outputs)},
    }
    return {name: text for name, text in texts.items() if text}


def english(object_info: Mapping[str, Any]) -> dict[str, Any]:
    """nodeDefs.json of all nodes of ours."""
    ours = {name: info for name, info in object_info.items() if info["python_module"] == "custom_nodes.uncertainty-nodes"}
    return {name: node_texts(ours[name]) for name in sorted(ours)}


def write(language: str, texts: Mapping[str, Any]) -> None:
    path = LOCALES / language / "nodeDefs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(texts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "comfyui"))
    from comfy_server import PACKS, Server

    packs = {"uncertainty-nodes": PACKS["uncertainty-nodes"]}
    with tempfile.TemporaryDirectory() as base, Server(Path(base), packs) as comfy:
        write("en", english(comfy.object_info()))


if __name__ == "__main__":
    main()
