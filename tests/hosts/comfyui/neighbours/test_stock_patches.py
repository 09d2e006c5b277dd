"""Stock patches that remember earlier calls, in front of ours and behind it: the sampled latent is the one without ours."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from comfy_graph import Node
from comfy_scenes import Scene, ksampler, scene
from comfy_server import Server
from comfy_uncertainty import guidance, read, record, samples, save, uncertainty

REMEMBERING = ("EasyCache", "LazyCache", "TomePatchModel")
SETTINGS: dict[str, dict[str, Any]] = {
    "EasyCache": {"reuse_threshold": 3.0, "start_percent": 0.0, "end_percent": 1.0},
    "LazyCache": {"reuse_threshold": 3.0, "start_percent": 0.0, "end_percent": 1.0},
    "TomePatchModel": {"ratio": 0.5},
}
OURS = {"record": lambda s: record(s), "guidance at 0": lambda s: guidance(s, strength=0.0)}


def default_of(spec: list[Any]) -> Any:
    """Of a widget: its default, its first choice, or the least number."""
    kind, more = spec[0], spec[1] if len(spec) > 1 else {}
    if "default" in more:
        return more["default"]
    choices = kind if isinstance(kind, list) else more.get("options", [])
    return choices[0] if choices else {"INT": more.get("min", 0), "FLOAT": more.get("min", 0.0), "BOOLEAN": False, "STRING": ""}[kind]


def is_widget(spec: list[Any]) -> bool:
    return isinstance(spec[0], list) or spec[0] in ("INT", "FLOAT", "BOOLEAN", "STRING", "COMBO")


def is_patch(info: dict[str, Any]) -> bool:
    """MODEL in, MODEL first out, and otherwise only widgets: no file, no other model."""
    inputs = info["input"].get("required", {})
    others = [spec for name, spec in inputs.items() if name != "model"]
    empty = [spec for spec in others if (spec[0] if isinstance(spec[0], list) else spec[1:] and spec[1].get("options")) == []]
    is_stock = info["python_module"] == "nodes" or info["python_module"].startswith("comfy_extras")
    return (
        is_stock
        and info["output"][:1] == ["MODEL"]
        and inputs.get("model", [""])[0] == "MODEL"
        and all(map(is_widget, others))
        and not empty
    )


@cache
def patches(comfy: Server) -> dict[str, dict[str, Any]]:
    """Names of the stock patches and their settings."""
    found = {}
    for name, info in comfy.object_info().items():
        if is_patch(info) and "file" not in str(list(info["input"]["required"])).lower() and not name.startswith("UQ"):
            widgets = {key: default_of(spec) for key, spec in info["input"]["required"].items() if key != "model"}
            found[name] = {**widgets, **{k: v for k, v in SETTINGS.get(name, {}).items() if k in widgets}}
    return {
        name: values
        for name, values in found.items()
        if not any(str(v).endswith((".safetensors", ".ckpt", ".pt")) for v in values.values())
    }


def patched(s: Scene, name: str, settings: dict[str, Any]) -> Scene:
    return s.having(model=s.graph.node(name, model=s.model, **settings))


def sampled(comfy: Server, s: Scene, patch: Node | None = None) -> tuple[Any, Any]:
    drawn = ksampler(s, steps=6, cfg=3.0)
    kept, found = save(s, drawn), read(s, drawn, patch) if patch is not None else None
    history = comfy.run(s.graph)
    return samples(comfy, history, kept), found if found is None else uncertainty(comfy, history, found)


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("family", ["eps", "flow"])
@pytest.mark.parametrize("name", REMEMBERING)
def test_patches_that_remember_neither_notice_us_nor_are_noticed(comfy: Server, name: str, family: str, batch: int) -> None:
    settings = patches(comfy).get(name)
    if settings is None:
        pytest.skip(f"this ComfyUI has no {name}")
    expected, _ = sampled(comfy, patched(scene(family, batch=batch, size=8, salt=batch), name, settings))
    plain, _ = sampled(comfy, scene(family, batch=batch, size=8, salt=batch))
    if family == "eps":  # the tiny flow network has no place to merge tokens, and EasyCache finds none of its steps alike
        assert not torch.equal(expected, plain)
    scores = []
    for behind in (False, True):
        for ours in OURS:
            s = scene(family, batch=batch, size=8, salt=batch)
            s, patch = OURS[ours](s if behind else patched(s, name, settings))
            watches = ours == "record"  # the window of guidance may hold no step that a cache lets through
            latent, found = sampled(comfy, patched(s, name, settings) if behind else s, patch if watches else None)
            assert torch.equal(latent, expected), (ours, behind)
            if watches:
                scores.append(found["scores"])
    assert scores[0] == scores[1]
