"""Measuring: Uncertainty Estimator, Record Uncertainty and Read Uncertainty."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..core.options import AleatoricOptions, DrawOptions, Quantity, StepWindow, choose
from ..core.options.limits import LEVELS, MIX
from ..hosts.comfyui.estimate import estimate_latent, picture
from ..hosts.comfyui.patch import attach
from ..hosts.comfyui.record import Record as RunRecord
from .sockets import Record, Uncertainty, checked, number_input, option_input, percent_input, schema, seed_input

DEFAULT = AleatoricOptions()
UNCERTAINTY_TOOLTIP = "Maps and scores, one for each image. For Sample Filter, Uncertainty Heatmap and Uncertainty Report."


def measuring_options(samples: int, start: float, end: float, quantity: str, seed: int, every: int = 1) -> AleatoricOptions:
    return AleatoricOptions(DrawOptions(samples, seed), StepWindow(start, end, every), choose("quantity", quantity, Quantity))


def check_measuring(start: float | None, end: float | None, quantity: str | None) -> bool | str:
    """What ComfyUI's own check of each input by itself lets through."""
    values = (DEFAULT.draws.samples, start, end, quantity, 0)
    return checked(lambda: measuring_options(*values), *values)


def samples_input(price: str) -> io.Input:
    tooltip = f"Noise draws at each level. More draws, steadier scores; {price}."
    return option_input("samples", DEFAULT.draws, "samples", tooltip)


def quantity_input() -> io.Input:
    return io.Combo.Input(
        "quantity",
        [q.value for q in Quantity],
        default=DEFAULT.quantity.value,
        tooltip="denoised: how far the predicted images differ, high = unsure. "
        "noise: how far the predicted noises differ, as in the paper, low = unsure.",
    )


def mix_inputs() -> list[io.Input]:
    return [
        io.Conditioning.Input("negative", optional=True, tooltip="Needed when cfg is not 1."),
        number_input(
            "cfg",
            MIX,
            "1 = measure the prediction for positive alone. With another value the mix of both prompts is measured, at twice the cost.",
            advanced=True,
            optional=True,
        ),
    ]


def level_inputs(window: StepWindow) -> list[io.Input]:
    """At which noise levels finished latents are measured."""
    return [
        percent_input("start_percent", window.start, "Where the levels begin, in the noise schedule: 0 = pure noise, 1 = clean."),
        percent_input("end_percent", window.end, "Where the levels end. Must be below 1: there no noise is left to add."),
        number_input("levels", LEVELS, "How many noise levels to measure at, from start to end."),
    ]


def unscorable(end_percent: float | None, cfg: float | None, negative: object) -> str:
    """Why finished latents cannot be scored with these inputs; empty when they can. negative: False when it is left unconnected."""
    if cfg not in (None, 1.0) and negative is False:
        return f"cfg is {cfg:g}, which needs a negative conditioning; connect negative or set cfg to 1."
    if end_percent == 1.0:
        return "end_percent must be below 1: at the end of the schedule no noise is left to add."
    return ""


class UncertaintyEstimator(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_UncertaintyEstimator",
            "Uncertainty Estimator",
            "Scores finished latents: adds noise, lets the model predict again, and measures how far the predictions differ. "
            f"Costs samples x levels model calls per image, +{DEFAULT.draws.samples * LEVELS.default} by default; twice with cfg above 1.",
            inputs=[
                io.Model.Input("model", tooltip="The model that made the latent, or the one to judge it by."),
                io.Conditioning.Input("positive", tooltip="The prompt it was made with."),
                io.Latent.Input("latent", tooltip="The finished latents, from a sampler or from VAE Encode."),
                samples_input("each costs one model call per image and level"),
                *level_inputs(DEFAULT.window),
                quantity_input(),
                seed_input("Of the noise draws. The same seed gives the same score."),
                *mix_inputs(),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The latent as it came."),
                Uncertainty.Output(display_name="uncertainty", tooltip=UNCERTAINTY_TOOLTIP),
                io.Image.Output(display_name="heatmap", tooltip="Where each image is unsure, bright = unsure."),
                io.Float.Output(display_name="scores", is_output_list=True, tooltip="One number per image."),
            ],
            search_aliases=["estimate", "score latent", "aleatoric"],
        )

    @classmethod
    def validate_inputs(cls, start_percent, end_percent, quantity, cfg=1.0, negative=False) -> bool | str:
        return unscorable(end_percent, cfg, negative) or check_measuring(start_percent, end_percent, quantity)

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        positive: io.Conditioning.Type,
        latent: io.Latent.Type,
        samples: int,
        start_percent: float,
        end_percent: float,
        levels: int,
        quantity: str,
        seed: int,
        negative: io.Conditioning.Type | None = None,
        cfg: float = 1.0,
    ) -> io.NodeOutput:
        options = measuring_options(samples, start_percent, end_percent, quantity, seed)
        result = estimate_latent(model, positive, latent, options, levels, negative, cfg)
        return io.NodeOutput(latent, result, picture(result), result.scores.tolist())


class RecordUncertainty(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        window = DEFAULT.window
        return schema(
            "UQ_RecordUncertainty",
            "Record Uncertainty",
            "Measures while any sampler draws, and changes nothing of what it draws. Read the result with Read Uncertainty. "
            f"Costs samples model calls per image at each step inside the window: about +{round(20 * (window.end - window.start)) * 5} "
            "for 20 steps at the defaults.",
            inputs=[
                io.Model.Input("model", tooltip="The model to watch."),
                samples_input("each costs one model call per image and measured step"),
                percent_input("start_percent", window.start, "Measure from here on, in the noise schedule: 0 = pure noise, 1 = clean."),
                percent_input("end_percent", window.end, "Measure up to here."),
                option_input(
                    "every", window, "every", "Measure only every k-th step inside the window, to save time: 1 = every step.", advanced=True
                ),
                quantity_input(),
                seed_input("Of the noise draws; the sampler's own noise is another's. The same seed gives the same score."),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="For any sampler, guider or detailer."),
                Record.Output(display_name="record", tooltip="For Read Uncertainty, behind the sampler."),
            ],
            search_aliases=["record", "watch", "aleatoric"],
        )

    @classmethod
    def validate_inputs(cls, start_percent, end_percent, quantity) -> bool | str:
        return check_measuring(start_percent, end_percent, quantity)

    @classmethod
    def execute(
        cls, model: io.Model.Type, samples: int, start_percent: float, end_percent: float, every: int, quantity: str, seed: int
    ) -> io.NodeOutput:
        record = RunRecord()
        options = measuring_options(samples, start_percent, end_percent, quantity, seed, every)
        return io.NodeOutput(attach(model, record, options), record)


class ReadUncertainty(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_ReadUncertainty",
            "Read Uncertainty",
            "Reads what Record Uncertainty or uncertainty guidance measured while this latent was sampled. Costs nothing.",
            inputs=[
                io.Latent.Input("latent", tooltip="The sampler's output: it says when to read, and which run."),
                Record.Input("record", tooltip="From the node that gave the sampler its model or guider."),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The latent as it came."),
                Uncertainty.Output(display_name="uncertainty", tooltip=UNCERTAINTY_TOOLTIP),
            ],
            search_aliases=["read", "record"],
        )

    @classmethod
    def execute(cls, latent: dict[str, Any], record: RunRecord) -> io.NodeOutput:
        return io.NodeOutput(latent, record.of(latent["samples"]))


NODES = [UncertaintyEstimator, RecordUncertainty, ReadUncertainty]
