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
            "A small diffusion model of handwritten digits that comes with this pack: nothing to download, seconds on a CPU.",
            inputs=[
                number_input("digit", DIGIT, "The digit that positive asks for."),
                number_input("batch_size", replace(BATCH, default=4), "How many images the empty latent is for."),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model; it predicts noise, as Stable Diffusion 1.5 does."),
                io.Conditioning.Output(display_name="positive", tooltip="The digit."),
                io.Conditioning.Output(display_name="negative", tooltip="No digit in particular."),
                io.Vae.Output(
                    display_name="vae", tooltip="For the stock VAE Decode and VAE Encode: 256 x 256 pixels for a latent of 32 x 32."
                ),
                io.Latent.Output(display_name="latent", tooltip="An empty latent to sample from."),
                io.Latent.Output(
                    display_name="examples",
                    tooltip="About 50 real digits of this kind, as a finished latent: examples to fit or train with.",
                ),
            ],
            search_aliases=["demo", "digits", "mnist"],
        )

    @classmethod
    def execute(cls, digit: int, batch_size: int) -> io.NodeOutput:
        demo = load_demo(digit, batch_size)
        return io.NodeOutput(demo.model, demo.positive, demo.negative, demo.decoder, demo.latent, demo.examples)


NODES = [LoadDemoModel]
