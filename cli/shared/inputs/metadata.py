"""The prompt that an image was made from, as A1111 and Forge, and ComfyUI, write it into the file."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from PIL import ExifTags, Image

from ....core.files import reason_of

TEXTS = ("text", "text_g", "text_l", "t5xxl", "clip_l", "prompt", "string", "value", "wildcard_text")  # inputs that hold words
WAYS = ("positive", "conditioning", "conditioning_1", "conditioning_to", "guider", "model_positive")  # inputs that lead to them
COMMENT = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16-be", b"\0" * 8: "utf-8"}


def prompt_in(path: Path) -> str | None:
    """None where the file names none, in neither way. Raises ValueError for a file that is no image."""
    try:
        with Image.open(path) as file:
            texts = {name: value for name, value in file.info.items() if isinstance(value, str)}
            texts |= exif_texts(file.getexif())
    except Exception as error:  # a broken file makes a decoder raise anything
        raise ValueError(reason_of(error)) from error
    if parameters := texts.get("parameters"):
        return prompt_of_parameters(parameters)
    return prompt_of_graph(texts["prompt"]) if "prompt" in texts else None


def exif_texts(exif: Image.Exif) -> dict[str, str]:
    """Of a JPEG or WebP: A1111's in the user comment, ComfyUI's as "prompt:{..}" in an ASCII tag."""
    texts = dict(value.split(":", 1) for value in exif.values() if isinstance(value, str) and value.startswith(("prompt:", "workflow:")))
    comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if isinstance(comment, bytes) and len(comment) > 8:
        body, encoding = comment[8:], COMMENT.get(comment[:8], "utf-8")
        if encoding == "utf-16-be" and body[1:2] == b"\0":
            encoding = "utf-16-le"  # some programs follow the file's byte order
        comment = body.decode(encoding, "replace")
    return texts | ({"parameters": comment} if isinstance(comment, str) and comment.strip() else {})


def prompt_of_parameters(text: str) -> str | None:
    """The lines before the negative prompt and the settings."""
    lines = []
    for line in text.strip().split("\n"):
        if line.startswith(("Negative prompt:", "Steps: ")):
            break
        lines.append(line)
    return "\n".join(lines).strip() or None


def prompt_of_graph(text: str) -> str | None:
    """What leads to the positive side of the sampler that is nearest to what is saved, in a prompt of ComfyUI's API format."""
    try:
        graph = {str(name): node for name, node in json.loads(text).items() if isinstance(node, dict)}
    except (ValueError, AttributeError, RecursionError):
        return None
    ends = [name for name, node in graph.items() if "Save" in str(node.get("class_type")) or "Preview" in str(node.get("class_type"))]
    for name in upstream(graph, ends or list(graph)):
        for way in WAYS[:1] + WAYS[4:5]:
            if is_link(link := inputs_of(graph[name]).get(way)) and (words := words_at(graph, str(link[0]))):
                return words
    return None


def words_at(graph: Mapping[str, Any], name: str) -> str | None:
    """The first words on the way back along conditionings, and of texts that are wired to them."""
    for at in upstream(graph, [name], WAYS + TEXTS):
        for text in TEXTS:
            if isinstance(words := inputs_of(graph[at]).get(text), str) and words.strip():
                return words.strip()
    return None


def upstream(graph: Mapping[str, Any], starts: list[str], ways: tuple[str, ...] | None = None) -> Iterator[str]:
    """Nodes that these need, the nearest first, themselves included; by inputs of these names only where some are given."""
    seen, queue = set(starts), deque(name for name in starts if name in graph)
    while queue:
        name = queue.popleft()
        yield name
        inputs = inputs_of(graph[name])
        for way in inputs if ways is None else ways:
            link = inputs.get(way)
            if is_link(link) and str(link[0]) in graph and str(link[0]) not in seen:
                seen.add(str(link[0]))
                queue.append(str(link[0]))


def inputs_of(node: Any) -> Mapping[str, Any]:
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, dict) else {}


def is_link(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int))
