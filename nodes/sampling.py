"""The inputs of the stock KSampler, for the nodes that sample in its place."""

from __future__ import annotations

from collections.abc import Sequence

from comfy_api.latest import io

from ..core.options.limits import CFG, DENOISE, STEPS
from ..hosts.comfyui.sampling.ksampler import sampler_names
from .sockets import number_input, seed_input


def ksampler_inputs(seed_tooltip: str, sampler_tooltip: str, only: Sequence[str] = (), lazy: bool = False) -> list[io.Input]:
    """In KSampler's own order. only: the samplers to offer; all that this ComfyUI has when left out.

    lazy: what is wired to them runs only when the node asks for it.
    """
    samplers, schedulers = sampler_names()
    return [
        io.Model.Input("model", lazy=lazy, tooltip="The model used for denoising the latent."),
        seed_input(seed_tooltip),
        number_input("steps", STEPS, "The number of denoising steps."),
        number_input("cfg", CFG, "The scale of classifier-free guidance. 1 turns it off.", round=0.01),
        io.Combo.Input("sampler_name", list(only) or samplers, tooltip=sampler_tooltip),
        io.Combo.Input("scheduler", schedulers, tooltip="How the noise is removed over the steps."),
        io.Conditioning.Input("positive", lazy=lazy, tooltip="The prompt: what the image should show."),
        io.Conditioning.Input("negative", lazy=lazy, tooltip="The negative prompt: what the image should not show."),
        io.Latent.Input("latent_image", lazy=lazy, tooltip="The latent to denoise."),
        number_input("denoise", DENOISE, "How much of the latent is drawn anew, for image to image. Lower values keep more of it."),
    ]
