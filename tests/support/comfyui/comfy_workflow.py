"""Workflows as the front-end saves them -> prompts in API format, without a front-end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NOTES = {"Note", "MarkdownNote"}  # only the front-end knows them


def to_prompt(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A prompt for ``Server.run``. Raises KeyError with the type of a node that the server doesn't know."""
    origins = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    nodes = [node for node in workflow["nodes"] if node["type"] not in NOTES]
    return {str(node["id"]): {"class_type": node["type"], "inputs": inputs_of(node, origins, object_info)} for node in nodes}


def inputs_of(node: Mapping[str, Any], origins: Mapping[int, list[Any]], object_info: Mapping[str, Any]) -> dict[str, Any]:
    declared = object_info[node["type"]]["input"]
    options = {name: (spec[1:] or [{}])[0] for part in ("required", "optional") for name, spec in declared.get(part, {}).items()}
    values = iter(node.get("widgets_values") or [])
    inputs = {slot["name"]: next_value(values, options[slot["name"]]) for slot in node["inputs"] if "widget" in slot}
    return inputs | {slot["name"]: origins[slot["link"]] for slot in node["inputs"] if slot.get("link") is not None}


def next_value(values: Iterator[Any], options: Mapping[str, Any]) -> Any:
    value = next(values)
    if options.get("control_after_generate"):
        next(values)  # fixed, increment, ...: saved behind the value that it re-rolls
    return value
