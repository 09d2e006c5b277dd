"""Seeing what a setting does: Guidance Strength Sweep, Sweep Grid, Sweep Values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io

from ..core.options import GuidanceOptions, GuidancePreset, SweepSetting, choose, limits, parse_numbers, parse_sweep
from ..hosts.comfyui.batch import list_scores
from ..hosts.comfyui.sampling.ksampler import KSample
from ..hosts.comfyui.view.grid import draw_grid
from ..hosts.comfyui.view.grid_layout import list_cells
from ..hosts.comfyui.view.report import warn_of_failed
from ..hosts.comfyui.view.sweep import costs, decode, draw_sweep, run_sweep
from .guide import guidance_inputs, guidance_options
from .sampling import ksampler_inputs
from .sockets import Uncertainty, checked, number_input, schema
from .view import unsure

DEFAULT = GuidanceOptions()


class StrengthSweep(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_StrengthSweep",
            "Guidance Strength Sweep",
            "Draws one noise at several strengths of guidance, or percentiles, modes or CFG scales, and lays the pictures side by side, "
            "each with its score and its price. Costs one sampling for each value; strength 0 draws exactly what KSampler draws.",
            inputs=sweep_inputs(),
            outputs=[
                io.Image.Output(
                    display_name="grid", tooltip="All pictures in one, with a column for each value and a row for each image of the batch."
                ),
                io.Image.Output(
                    display_name="images", is_output_list=True, tooltip="The pictures one by one, those of the first value first."
                ),
                io.String.Output(display_name="labels", is_output_list=True, tooltip="The value that each picture was drawn with."),
                io.Float.Output(display_name="scores", is_output_list=True, tooltip="How unsure the model is of each picture."),
                io.Latent.Output(display_name="latents", is_output_list=True, tooltip="The latents of the batch, once for each value."),
                Uncertainty.Output(
                    display_name="uncertainty", is_output_list=True, tooltip="The maps and scores of the batch, once for each value."
                ),
                io.String.Output(display_name="costs", is_output_list=True, tooltip="The model calls per image, once for each value."),
            ],
            search_aliases=["xy plot", "grid", "compare", "strength", "cfg"],
        )

    @classmethod
    def validate_inputs(cls, values, sweep, start_percent, end_percent, mode, units) -> bool | str:
        others = (DEFAULT.strength, DEFAULT.percentile, DEFAULT.draws.samples)
        given = (*others, start_percent, end_percent, mode, units, GuidancePreset.MEASURED.value)
        told = checked(lambda: parse_sweep(choose("sweep", sweep, SweepSetting), values), values, sweep)
        return told if told is not True else checked(lambda: guidance_options(*given), *given)

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: io.Conditioning.Type,
        negative: io.Conditioning.Type,
        latent_image: io.Latent.Type,
        denoise: float,
        values: str,
        vae: io.Vae.Type,
        sweep: str,
        strength: float,
        percentile: float,
        samples: int,
        start_percent: float,
        end_percent: float,
        mode: str,
        units: str,
    ) -> io.NodeOutput:
        setting = choose("sweep", sweep, SweepSetting)
        chosen = parse_sweep(setting, values)
        preset = GuidancePreset.MEASURED.value
        options = guidance_options(strength, percentile, samples, start_percent, end_percent, mode, units, preset)
        sampling = KSample(model, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise)
        sweeps = run_sweep(sampling, options, setting, chosen)
        pictures = [decode(vae, each.latent) for each in sweeps]
        fixed = "" if setting is SweepSetting.CFG else f", cfg {cfg:g}"
        title = f"seed {seed}, {sampler_name}, {steps} steps{fixed} | {unsure(sweeps[0].uncertainty)}"
        return io.NodeOutput(
            draw_sweep(sweeps, pictures, title),
            [picture for images in pictures for picture in images],
            [each.label for each in sweeps for _ in each.scores],
            [score for each in sweeps for score in each.scores],
            [each.latent for each in sweeps],
            [warn_of_failed(each.uncertainty, f"Guidance Strength Sweep, {each.label}") for each in sweeps],
            costs(sweeps),
        )


def sweep_inputs() -> list[io.Input]:
    """Those of KSampler, of the sweep, and of guidance without its preset."""
    return [
        *ksampler_inputs(
            "The seed of the one noise that all pictures start from.", sampler_tooltip="The sampling algorithm. All samplers work."
        ),
        io.String.Input(
            "values",
            default="0, 0.01, 0.02, 0.04",
            tooltip="The values to draw with, with commas between, such as 0, 0.01, 0.02. To sweep mode, write its names, "
            "such as posterior, forward.",
        ),
        io.Vae.Input("vae", tooltip="The VAE that decodes the pictures."),
        io.Combo.Input(
            "sweep",
            [setting.value for setting in SweepSetting],
            default=SweepSetting.STRENGTH.value,
            tooltip="Which setting takes the values. All other settings stay as they are here. To see what CFG alone does, "
            "set strength to 0.",
        ),
        *guidance_inputs()[:-1],
    ]


class SweepGrid(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_SweepGrid",
            "Sweep Grid",
            "Lays a list of images side by side, each with its label above and its score below: for sweeps with any sampler. "
            "Costs nothing.",
            inputs=[
                io.Image.Input("images", tooltip="The pictures, as a list or in batches."),
                io.String.Input(
                    "labels", optional=True, force_input=True, tooltip="A text for each picture, or one for each batch of the list."
                ),
                io.Float.Input("scores", optional=True, force_input=True, tooltip="A number for each picture."),
                number_input(
                    "columns",
                    limits.GRID_COLUMNS,
                    "How many pictures stand in a row. With 0 each label gets a column, or, where that is not possible, "
                    "the pictures fill a square.",
                ),
                io.String.Input("heading", default="", optional=True, tooltip="A line of text above all pictures."),
            ],
            outputs=[io.Image.Output(display_name="grid", tooltip="All pictures in one.")],
            is_input_list=True,
            search_aliases=["xy plot", "grid", "contact sheet", "compare"],
        )

    @classmethod
    def execute(
        cls,
        images: list[io.Image.Type],
        columns: list[int],
        labels: list[Any] | None = None,
        scores: list[Any] | None = None,
        heading: Sequence[str] = ("",),
    ) -> io.NodeOutput:
        numbers = [] if scores is None else list_scores(scores).tolist()
        cells, in_a_row = list_cells(images, [str(label) for label in labels or ()], numbers, columns[0])
        return io.NodeOutput(draw_grid(cells, in_a_row, heading[0]))


class SweepValues(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_SweepValues",
            "Sweep Values",
            "A list of numbers for any number input: what is wired behind it runs once for each. With Uncertainty Guidance, "
            "any sampler and Sweep Grid it makes a sweep. Costs nothing itself.",
            inputs=[
                io.String.Input("values", default="0, 0.01, 0.02, 0.04", tooltip="The numbers, with commas between."),
                io.String.Input(
                    "name",
                    default="strength",
                    optional=True,
                    tooltip="What the labels call the numbers. With strength, a label is strength 0.02.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    display_name="values",
                    is_output_list=True,
                    tooltip="The numbers one by one. Connect them to a number input, such as strength or cfg.",
                ),
                io.String.Output(display_name="labels", is_output_list=True, tooltip="A text for each number. Connect them to Sweep Grid."),
            ],
            search_aliases=["list", "xy plot", "numbers"],
        )

    @classmethod
    def validate_inputs(cls, values: str | None) -> bool | str:
        return checked(lambda: parse_numbers(values or ""), values)

    @classmethod
    def execute(cls, values: str, name: str = "") -> io.NodeOutput:
        numbers = parse_numbers(values)
        return io.NodeOutput(numbers, [f"{name} {number:g}".strip() for number in numbers])


NODES = [StrengthSweep, SweepGrid, SweepValues]
