"""diffusers host: whether a network can be asked again without a trace in the sampling: nothing in it may remember earlier passes."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from .call import input_name, original, signature_of

PUT_THERE = {  # attribute that a package leaves on the network's modules -> what it does, and the way out
    "_tome_info": "token merging (tomesd) draws from a random state of its own; call tomesd.remove_patch(pipe) first",
    "_is_cached": "a cache of another package (ParaAttention, cache-dit) reuses earlier passes; load the pipeline without it",
    "enable_teacache": "TeaCache reuses earlier passes; load the pipeline without it",
}
KNOWN_PACKAGES = ("diffusers", "accelerate", "torch", "transformers", "peft")


def check_repeatable(network: nn.Module) -> None:
    """Raises ValueError, with the way out, for a network that can't be asked again with the sampling left untouched."""
    name = type(original(network)).__name__
    if any(isinstance(m, nn.Dropout) and m.training and m.p > 0 for m in network.modules()):
        raise ValueError(f"{name} is in train mode, where dropout makes every pass another one; call .eval() first.")
    if reason := next(what_remembers(network), None):
        raise ValueError(f"{name} can't be asked again while it samples: {reason}.")
    input_name(network, signature_of(network))


def what_remembers(network: nn.Module) -> Iterator[str]:
    """What of other software keeps something from one pass of the network to the next, each with the way out."""
    if getattr(network, "is_cache_enabled", False):
        yield "its cache reuses earlier passes; call .disable_cache() first"
    for module in network.modules():
        registry = getattr(module, "_diffusers_hook", None)
        for name, hook in registry.hooks.items() if registry is not None else ():
            if getattr(hook, "_is_stateful", False):  # what diffusers calls a hook that it must reset before every run
                yield f"the hook {type(hook).__name__} reuses earlier passes; remove it, {name!r}, from the registry of the network first"
        yield from (reason for attribute, reason in PUT_THERE.items() if getattr(module, attribute, False))
        if package := replaced_by(module):
            layer = type(module).__name__
            yield f"{package} has replaced the forward of its {layer}, and may remember earlier passes there; undo that first"


def replaced_by(module: nn.Module) -> str:
    """The package whose function stands in the place of this very module's forward, as DeepCache puts them; empty where none does."""
    forward = vars(module).get("forward")
    function = getattr(forward, "func", forward)  # offloading and hooks put a partial there, which bears the name of what it wraps
    package = (getattr(function, "__module__", None) or "").partition(".")[0]
    return "" if forward is None or package in KNOWN_PACKAGES else package or type(forward).__name__
