"""WebUI host: which of the hooks that scoring and guidance need this web UI has; the forks differ."""

from __future__ import annotations

from importlib.util import find_spec

NEEDED = ("backend.sampling.sampling_function", "backend.sampling.condition")
NO_FORGE = (
    "This web UI lacks what uncertainty is measured by: Forge's model patcher (backend.sampling). Nothing is measured or steered; images "
    "are drawn as without this extension. Use Forge or Forge Neo."
)


def why_not() -> str:
    """Empty where everything is there; else one sentence for the accordion."""
    try:
        missing = [name for name in NEEDED if find_spec(name) is None]
    except ModuleNotFoundError:  # a parent package
        missing = ["backend"]
    return NO_FORGE if missing else ""
