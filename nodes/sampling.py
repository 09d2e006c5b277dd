"""The inputs of the stock KSampler, for the nodes that sample in its place."""

from __future__ import annotations

from collections.abc import Sequence

from comfy_api.latest import io

from ..hosts.comfyui.ksampler import sampler_names
from .sockets import seed_input


def ksampler_inputs(seed_tooltip: str, sampler_tooltip: str, only: Sequence[str] = ()) -> list[io.Input]:
    """In KSampler's own order. only: the samplers to offer; all that this ComfyUI has when left out."""
    samplers, schedulers = sampler_names()
    return [
        io.Model.Input("model", tooltip="The model used for denoising the latent."),
        seed_input(seed_tooltip),
        io.Int.Input("steps", default=20, min=1, max=10000, tooltip="The number of denoising steps."),
        io.Float.Input(
            "cfg", default=8.0, min=0.0, max=100.0, step=0.1, round=0.01, tooltip="Classifier-free guidance; 1 = off, also works."
        ),
        io.Combo.Input("sampler_name", list(only) or samplers, tooltip=sampler_tooltip),
        io.Combo.Input("scheduler", schedulers, tooltip="How noise is removed over the steps."),
        io.Conditioning.Input("positive", tooltip="What the image shall show."),
        io.Conditioning.Input("negative", tooltip="What it shall not show."),
        io.Latent.Input("latent_image", tooltip="The latent to denoise."),
        io.Float.Input(
            "denoise", default=1.0, min=0.01, max=1.0, step=0.01, tooltip="Lower values keep more of the latent: image to image."
        ),
    ]
