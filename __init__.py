"""Uncertainty Nodes: how sure a diffusion model is of what it draws, while it draws it.

This folder is the package, whatever its name: `uncertainty_nodes` under pip, a custom node under ComfyUI.
"""

from __future__ import annotations

import logging

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Called by ComfyUI only. pip and pytest import this file too, so no host is imported above this line."""
    try:
        from .nodes import UncertaintyExtension

        return UncertaintyExtension()
    except Exception:  # ComfyUI shows one line without a traceback; people need the traceback to report what broke
        logging.getLogger(__name__).exception("Uncertainty Nodes could not be loaded")
        raise
