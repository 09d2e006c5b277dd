"""Measuring: Uncertainty Estimator, Record Uncertainty and Read Uncertainty."""

from __future__ import annotations

from functools import partial
from typing import Any

from comfy_api.latest import io

from ..core.options import DIRECTION_OF, AleatoricOptions, DrawOptions, FreeOptions, FreeScore, Quantity, StepWindow, choose
from ..core.options.limits import LEVELS, MIX
from ..hosts.comfyui.estimate import aleatoric, estimate_latent, picture
from ..hosts.comfyui.patch import attach
from ..hosts.comfyui.sampling.record import Record as RunRecord
from ..hosts.comfyui.view.live import Live, show_curve
from ..hosts.comfyui.view.report import warn_of_failed
from .sockets import Record, Uncertainty, checked, number_input, option_input, percent_input, schema, seed_input

DEFAULT = AleatoricOptions()
UNCERTAINTY_TOOLTIP = "A map and a score for each image. Connect it to Sample Filter, Uncertainty Heatmap or Uncertainty Report."


def measuring_options(samples: int, start: float, end: float, quantity: str, seed: int, every: int = 1) -> AleatoricOptions:
    return AleatoricOptions(DrawOptions(samples, seed), StepWindow(start, end, every), choose("quantity", quantity, Quantity))


def recording_options(samples: int, start: float, end: float, quantity: str, seed: int, every: int = 1) -> AleatoricOptions | FreeOptions:
    """The spread of draws, or a score that needs none."""
    if quantity in [score.value for score in FreeScore]:
        return FreeOptions(FreeScore(quantity), StepWindow(start, end, every))
    return measuring_options(samples, start, end, quantity, seed, every)


def check_recording(start: float | None, end: float | None, quantity: str | None) -> bool | str:
    values = (DEFAULT.draws.samples, start, end, quantity, 0)
    return checked(lambda: recording_options(*values), *values)


def check_measuring(start: float | None, end: float | None, quantity: str | None) -> bool | str:
    """What ComfyUI's own check of each input by itself lets through."""
    values = (DEFAULT.draws.samples, start, end, quantity, 0)
    return checked(lambda: measuring_options(*values), *values)


def samples_input(price: str) -> io.Input:
    tooltip = f"How many noise draws to make at each level. More draws give steadier scores; {price}."
    return option_input("samples", DEFAULT.draws, "samples", tooltip)


def quantity_input() -> io.Input:
    return io.Combo.Input(
        "quantity",
        [q.value for q in Quantity],
        default=DEFAULT.quantity.value,
        tooltip="What is measured. denoised: how far the predicted images differ; high means unsure. "
        "noise: how far the predicted noises differ, as in the paper; low means unsure. "
        "posterior: the squared error to expect of each pixel, in the latent's own units; high means unsure; noisy with few samples.",
    )


def recorded_quantity_input() -> io.Input:
    return io.Combo.Input(
        "quantity",
        [q.value for q in (*Quantity, *FreeScore)],
        default=DEFAULT.quantity.value,
        tooltip="What is measured. denoised: how far the predicted images differ; high means unsure. "
        "noise: how far the predicted noises differ, as in the paper; low means unsure. "
        "posterior: the squared error to expect of each pixel, in the latent's own units; high means unsure; noisy with few samples. "
        "trajectory: how far the model's predictions move from step to step; high means unsure; try 0.5 to 1. "
        "condition_gap: how far the predictions with and without the prompt are apart; low means unsure; needs a cfg other than 1; "
        "try 0 to 0.35. The last two cost no model call and don't use samples and seed.",
    )


def mix_inputs() -> list[io.Input]:
    return [
        io.Conditioning.Input("negative", optional=True, tooltip="The negative prompt. It is needed when cfg is not 1."),
        number_input(
            "cfg",
            MIX,
            "1 measures the prediction for positive alone. Any other value measures the mix of both prompts, at twice the cost.",
            advanced=True,
            optional=True,
        ),
    ]


def level_inputs(window: StepWindow) -> list[io.Input]:
    """At which noise levels finished latents are measured."""
    return [
        percent_input(
            "start_percent", window.start, "Where in the noise schedule the levels begin: 0 is pure noise, 1 is the clean image."
        ),
        percent_input(
            "end_percent",
            window.end,
            "Where in the noise schedule the levels end. It must be below 1, because at 1 no noise is left to add.",
        ),
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
            "Scores finished latents. It adds noise, lets the model predict again, and measures how far the predictions differ. Costs "
            f"samples x levels model calls per image, {DEFAULT.draws.samples * LEVELS.default} by default, and twice as many with a cfg "
            "other than 1.",
            inputs=[
                io.Model.Input("model", tooltip="The model that made the latent, or another one that should judge it."),
                io.Conditioning.Input("positive", tooltip="The prompt that the latent was made with."),
                io.Latent.Input("latent", tooltip="The finished latents, from a sampler or from VAE Encode."),
                samples_input("each costs one model call per image and level"),
                *level_inputs(DEFAULT.window),
                quantity_input(),
                seed_input("The seed of the noise draws. The same seed gives the same score."),
                *mix_inputs(),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The latent, unchanged."),
                Uncertainty.Output(display_name="uncertainty", tooltip=UNCERTAINTY_TOOLTIP),
                io.Image.Output(display_name="heatmap", tooltip="A picture of where the model is unsure. Bright means unsure."),
                io.Float.Output(display_name="scores", is_output_list=True, tooltip="The score of each image."),
            ],
            live=True,
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
        live = Live(cls.hidden.unique_id, cls.SCHEMA.node_id)
        with live.follow(levels, "level", DIRECTION_OF[options.quantity]) as run:
            result = estimate_latent(model, positive, latent, options, levels, negative, cfg, partial(aleatoric, on_level=run.add))
        warn_of_failed(result, "Uncertainty Estimator")
        return io.NodeOutput(latent, result, picture(result), result.scores.tolist(), ui=live.shown)


class RecordUncertainty(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        window = DEFAULT.window
        return schema(
            "UQ_RecordUncertainty",
            "Record Uncertainty",
            "Measures while a sampler works, and changes nothing of what it draws. Any sampler can be used. Read Uncertainty gives the "
            "result. Costs samples model calls per image at each step inside the window, about "
            f"{round(20 * (window.end - window.start)) * 5} in 20 steps at the defaults, and none with trajectory and condition_gap.",
            inputs=[
                io.Model.Input("model", tooltip="The model that the sampler will use."),
                samples_input("each costs one model call per image and measured step"),
                percent_input(
                    "start_percent", window.start, "Where in the noise schedule measuring begins: 0 is pure noise, 1 is the clean image."
                ),
                percent_input("end_percent", window.end, "Where in the noise schedule measuring ends."),
                option_input(
                    "every",
                    window,
                    "every",
                    "How often to measure inside the window: 1 measures every step, 2 every second step, which saves time.",
                    advanced=True,
                ),
                recorded_quantity_input(),
                seed_input(
                    "The seed of the noise draws. The sampler's own noise has a seed of its own. The same seed gives the same score."
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model, for any sampler, guider or detailer."),
                Record.Output(display_name="record", tooltip="What is measured. Connect it to Read Uncertainty, behind the sampler."),
            ],
            live=True,
            search_aliases=["record", "watch", "aleatoric"],
        )

    @classmethod
    def validate_inputs(cls, start_percent, end_percent, quantity) -> bool | str:
        return check_recording(start_percent, end_percent, quantity)

    @classmethod
    def execute(
        cls, model: io.Model.Type, samples: int, start_percent: float, end_percent: float, every: int, quantity: str, seed: int
    ) -> io.NodeOutput:
        record, live = RunRecord(), Live(cls.hidden.unique_id, cls.SCHEMA.node_id)
        options = recording_options(samples, start_percent, end_percent, quantity, seed, every)
        return io.NodeOutput(attach(model, record, options, live=live), record, ui=live.shown)


class ReadUncertainty(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_ReadUncertainty",
            "Read Uncertainty",
            "Reads what Record Uncertainty or uncertainty guidance measured while this latent was sampled. Costs nothing.",
            inputs=[
                io.Latent.Input("latent", tooltip="The sampler's output. It tells the node when to read, and from which run."),
                Record.Input("record", tooltip="The record, from the node that gave the sampler its model or guider."),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The latent, unchanged."),
                Uncertainty.Output(display_name="uncertainty", tooltip=UNCERTAINTY_TOOLTIP),
            ],
            has_intermediate_output=True,
            search_aliases=["read", "record"],
        )

    @classmethod
    def execute(cls, latent: dict[str, Any], record: RunRecord) -> io.NodeOutput:
        result = warn_of_failed(record.of(latent["samples"]), "Read Uncertainty")
        return io.NodeOutput(latent, result, ui=show_curve(result, cls.SCHEMA.node_id))


NODES = [UncertaintyEstimator, RecordUncertainty, ReadUncertainty]
