"""WebUI host: which of the hooks that scoring and guidance need this web UI has; the forks differ."""

from __future__ import annotations

from importlib.util import find_spec

PATCHER = ("backend.sampling.sampling_function", "backend.sampling.condition")
CALLBACKS = ("modules.sd_samplers_cfg_denoiser", "modules.script_callbacks")
TEXT_OF_EACH_IMAGE = ("modules.sd_schedulers",)  # came with A1111 1.9, as did entries of an infotext that tell each image its own
TOO_OLD = (
    "This web UI is older than A1111 1.9, so its infotexts can't tell the score of each image. Nothing is measured or steered; images are "
    "drawn as without this extension. Update the web UI."
)
NOTHING = (
    "This web UI tells nothing of the steps of its samplers, neither by Forge's model patcher nor by A1111's callbacks. Nothing is "
    "measured or steered; images are drawn as without this extension. Use Forge or A1111."
)
NO_PATCHER = (
    "This web UI lacks Forge's model patcher. Images are scored, filtered and steered, but none can end on the way: Keep the best of each "
    "batch chooses among finished images, and the guidance mode autograd is done as forward."
)


def why_not() -> str:
    """Empty where images can be measured; else one sentence for the accordion."""
    if not has_patcher() and not has(CALLBACKS):
        return NOTHING
    return "" if has(TEXT_OF_EACH_IMAGE) else TOO_OLD


def what_lacks() -> str:
    """For the accordion: empty where everything is there."""
    return why_not() or ("" if has_patcher() else NO_PATCHER)


def has_patcher() -> bool:
    return has(PATCHER)


def has(modules: tuple[str, ...]) -> bool:
    try:
        return all(find_spec(name) is not None for name in modules)
    except ModuleNotFoundError:  # a parent package
        return False
