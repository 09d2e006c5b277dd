"""ComfyUI host: which model a patcher stands for, for the provenance of scores."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher

from ....core.selection.fingerprint import fingerprint

NETWORK = "diffusion_model."


def describe_model(patcher: ModelPatcher) -> dict[str, str]:
    """Its class, and the fingerprint of its weights with what LoRA and merges add; the same while it is loaded with them as before."""
    weights = {NETWORK + name: parameter.detach() for name, parameter in patcher.model.diffusion_model.named_parameters()}
    for name, saved in patcher.backup.items():  # loaded with patches, which then are in the parameters
        if name in weights:
            weights[name] = saved.weight
    patches = {name: value for name, value in patcher.patches.items() if name.startswith(NETWORK)}
    return {"model": type(patcher.model).__name__, "weights": fingerprint(weights, patches)}
