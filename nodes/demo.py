"""A model to try everything with, at once and without a GPU."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ..core.options.limits import BATCH, DIGIT
from ..hosts.comfyui.demo import load_demo
from .sockets import number_input, schema


class LoadDemoModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_LoadDemoModel",
            "Load Demo Model",
            "Loads a small diffusion model of handwritten digits that comes with this pack. Nothing has to be downloaded, and it takes "
            "seconds on a CPU.",
            inputs=[
                number_input("digit", DIGIT, "The digit that positive asks for."),
                number_input("batch_size", replace(BATCH, default=4), "How many images the empty latent is for."),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model. It predicts noise, as Stable Diffusion 1.5 does."),
                io.Conditioning.Output(display_name="positive", tooltip="The prompt for this digit."),
                io.Conditioning.Output(display_name="negative", tooltip="The empty prompt, which asks for no digit in particular."),
                io.Vae.Output(
                    display_name="vae", tooltip="The VAE, for VAE Decode and VAE Encode. A latent of 32 x 32 becomes 256 x 256 pixels."
                ),
                io.Latent.Output(display_name="latent", tooltip="An empty latent to sample from."),
                io.Latent.Output(
                    display_name="examples",
                    tooltip="About 50 real images of this digit, as a finished latent. They are examples to fit or train with.",
                ),
            ],
            search_aliases=["demo", "digits", "mnist"],
        )

    @classmethod
    def execute(cls, digit: int, batch_size: int) -> io.NodeOutput:
        demo = load_demo(digit, batch_size)
        return io.NodeOutput(demo.model, demo.positive, demo.negative, demo.decoder, demo.latent, demo.examples)


NODES = [LoadDemoModel]
