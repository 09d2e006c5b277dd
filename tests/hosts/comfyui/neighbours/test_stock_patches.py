"""Every stock model patch in front of ours and behind it: the sampled latent is the one without ours, or our sentence says why not."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_client import PromptFailed, PromptRefused
from comfy_neighbours import patch, sample
from comfy_server import Server

REFUSED = "on this model remembers earlier model calls"
SIDES = [("record", False), ("record", True), ("guidance at 0", True)]
NUMBERS = ("INT", "FLOAT", "BOOLEAN", "STRING")
OWN_FAILURE = "by itself"
COMPILED = "TorchCompileModel"  # takes minutes: it has a test of its own, on one network


def default_of(spec: list[Any]) -> Any:
    """Of a widget: its default, its first choice, or the least number. Raises LookupError for what is no widget, or has no choice."""
    kind, more = spec[0], spec[1] if len(spec) > 1 else {}
    if "default" in more and (kind in NUMBERS or kind == "COMBO" or isinstance(kind, list)):
        return more["default"]
    if isinstance(kind, list) or kind == "COMBO":
        return (kind if isinstance(kind, list) else more["options"])[0]
    return {"INT": more.get("min", 0), "FLOAT": more.get("min", 0.0), "BOOLEAN": False, "STRING": ""}[kind]


def stock_patches(comfy: Server) -> dict[str, dict[str, Any]]:
    """What has MODEL in and out, and otherwise only widgets: names and settings. Those that want a file are left out."""
    patches = {}
    for name, info in comfy.object_info().items():
        inputs = dict(info["input"].get("required", {}))
        is_stock = info["python_module"] == "nodes" or info["python_module"].startswith("comfy_extras")
        if name == COMPILED or not is_stock or info["output"][:1] != ["MODEL"] or inputs.pop("model", [""])[0] != "MODEL":
            continue
        try:
            settings = {key: default_of(spec) for key, spec in inputs.items()}
        except LookupError:
            continue
        if not any(str(value).endswith((".safetensors", ".ckpt", ".pt")) for value in settings.values()):
            patches[name] = settings
    return patches


def problem(comfy: Server, family: str, name: str, settings: dict[str, Any]) -> str:
    """What is wrong with it beside ours, or nothing."""
    other = patch(name, **settings)
    try:
        sample(comfy, family, other, steps=2, sides=SIDES).check()
        return ""
    except (PromptFailed, PromptRefused) as error:
        first = str(error)
    except AssertionError as error:
        return f"{name}: another latent with {error}"
    try:
        sample(comfy, family, other, steps=2, sides=[])
    except (PromptFailed, PromptRefused):
        return OWN_FAILURE
    if REFUSED not in first:
        return f"{name}: {first}"
    for side in SIDES:  # each of ours refuses it
        try:
            sample(comfy, family, other, steps=2, sides=[side]).check()
        except PromptFailed as error:
            if REFUSED not in str(error):
                return f"{name}: {error}"
    return ""


@pytest.mark.parametrize("family", ["eps", "flow"])
def test_every_stock_patch_on_either_side(comfy: Server, family: str) -> None:
    problems = {name: problem(comfy, family, name, settings) for name, settings in stock_patches(comfy).items()}
    tried = [name for name, said in problems.items() if said != OWN_FAILURE]
    assert len(tried) >= 10, problems
    assert not [said for said in problems.values() if said not in ("", OWN_FAILURE)]


def test_a_compiled_model_goes_on_with_the_code_it_has(comfy: Server) -> None:
    said = problem(comfy, "flow", COMPILED, {"backend": "inductor"})
    if said == OWN_FAILURE:
        pytest.skip("torch.compile does not work by itself here")
    assert said == ""
