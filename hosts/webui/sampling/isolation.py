"""WebUI host: our evaluations neither see nor change what other people's patches keep from call to call.

No extension is known by name. What patches keep, as far as ``core.guidance.patch_memory`` finds it, and the random states are put back
after each evaluation. Patches that have kept tensors of the sampler's evaluations may answer from them, as caches do: during ours they
are as they were when the run began.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from ....core.guidance.patch_memory import Memory, restoring

Options = dict[str, Any]
MODULES = frozenset({"backend", "modules", "modules_forge", "k_diffusion", "gradio"})  # Forge's own, whose objects are no patches
OURS = "uncertainty_evaluation"  # in transformer_options: this evaluation is no step of the sampler


def remember(options: Options, model: Any) -> Memory:
    """What patches keep now: in the options of a patcher, and on the network itself, where caches hang themselves in."""
    inner = options.get("transformer_options", {})
    memory = Memory.of([inner, unwrapped(options), getattr(model, "diffusion_model", None)], MODULES)
    memory.contents.extend((live, dict(live)) for live in (options, inner))
    return memory


def unwrapped(options: Options) -> Any:
    """The function around the network: other people's, where ours stands around it."""
    wrapper = options.get("model_function_wrapper")
    return getattr(wrapper, "__wrapped__", wrapper)


def kept_apart(options: Options, model: Any, device: torch.device, start: Memory | None = None) -> AbstractContextManager[None]:
    """A block in which patches may remember and draw what they like; at its end all is as it was. start: of the run."""
    return restoring(remember(options, model), device, start)
