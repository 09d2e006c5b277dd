"""Steering by uncertainty: a sampler, a model patch and a guider with the same inputs."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ..core.guidance.step_thresholds import StepThresholds
from ..core.options import DrawOptions, GuidanceMode, GuidanceOptions, GuidancePreset, GuidanceUnits, Quantity, StepWindow, choose
from ..core.options.limits import CFG
from ..hosts.comfyui.guidance import attach_guidance, make_guider, sample_guided
from ..hosts.comfyui.sampling.ksampler import KSample
from ..hosts.comfyui.sampling.record import Record as RunRecord
from ..hosts.comfyui.view.live import Live
from ..hosts.comfyui.view.report import warn_of_failed
from ..hosts.comfyui.view.stage import Stage
from .sampling import ksampler_inputs
from .sockets import Calibration, Record, Uncertainty, checked, number_input, option_input, percent_input, schema

DEFAULT = GuidanceOptions()
PRICE = (
    f"Costs samples model calls per image at each step, {DEFAULT.draws.samples} by default. Mode forward takes twice as many, and mode "
    "autograd a backward pass in addition. With classifier-free guidance, find the cfg that suits your model first: on the demo model "
    "a well chosen cfg with the stock node Epsilon Scaling gave better images than steering on top of cfg. On a small model of colour "
    "photos strength 0.02 made images worse at every cfg: compare with strength 0 first."
)
RECORD_TOOLTIP = "What is measured on the way. Connect it to Read Uncertainty, behind the sampler."


def guidance_options(
    strength: float,
    percentile: float,
    samples: int,
    start_percent: float,
    end_percent: float,
    mode: str,
    units: str,
    preset: str,
    calibration: StepThresholds | None = None,
) -> GuidanceOptions:
    """Raises ValueError for values out of range and for a calibration of another kind."""
    window, draws = StepWindow(start_percent, end_percent), DrawOptions(samples)
    chosen = choose("mode", mode, GuidanceMode), choose("units", units, GuidanceUnits)
    options = GuidanceOptions(strength, percentile, draws, window, *chosen)
    if choose("preset", preset, GuidancePreset) is GuidancePreset.PAPER:
        options = GuidanceOptions.paper()
    if calibration is None:
        return options
    if not isinstance(calibration, StepThresholds):
        raise ValueError(f"calibration must hold thresholds for each step, not {type(calibration).__name__}; leave it unconnected.")
    if calibration.quantity != Quantity.NOISE.value:
        raise ValueError(
            f"calibration must be of the quantity noise, by which guidance masks, got {calibration.quantity!r}; leave it unconnected."
        )
    return replace(options, thresholds=calibration.table(options.percentile))


def guidance_inputs() -> list[io.Input]:
    return [
        option_input(
            "strength",
            DEFAULT,
            "strength",
            "How strongly to steer. 0 turns it off, exactly as without this node. In relative units it is the size of the correction "
            "compared with the predicted noise: 0.02 suits posterior, 0.1 suits forward and autograd.",
        ),
        option_input(
            "percentile",
            DEFAULT,
            "percentile",
            "Only pixels above this percentile of their own image are moved. 0 moves all, 95 the 5 % with the highest noise uncertainty.",
        ),
        option_input(
            "samples", DEFAULT.draws, "samples", "How many noise draws to make at each step. More draws make the steering steadier."
        ),
        percent_input(
            "start_percent", DEFAULT.window.start, "Where in the noise schedule the steering begins: 0 is pure noise, 1 is the clean image."
        ),
        percent_input("end_percent", DEFAULT.window.end, "Where in the noise schedule the steering ends."),
        io.Combo.Input(
            "mode",
            [m.value for m in GuidanceMode],
            default=DEFAULT.mode.value,
            tooltip="How to steer. posterior mixes the predictions by their certainty; it needs no gradient and costs least. forward "
            "follows the gradient of the uncertainty by finite differences. autograd follows the exact gradient and needs much more "
            "memory.",
        ),
        io.Combo.Input(
            "units",
            [u.value for u in GuidanceUnits],
            default=DEFAULT.units.value,
            tooltip="What strength means. relative: 0.02 moves a step by 2 % of the predicted noise, on every model. raw: the lambda of "
            "the paper.",
        ),
        io.Combo.Input(
            "preset",
            [p.value for p in GuidancePreset],
            default=GuidancePreset.MEASURED.value,
            tooltip="Which values to use. measured uses the values above, whose defaults were best on the demo model. paper uses "
            "the values of the paper in their place: strength 1 raw, percentile 95, 5 samples, all steps, autograd.",
        ),
    ]


def calibration_input() -> io.Input:
    return Calibration.Input("calibration", optional=True, tooltip="Thresholds from earlier samples, in place of each image's own.")


class Checked:
    """Refuses, before anything is sampled, what ComfyUI's own check of each input by itself lets through."""

    @classmethod
    def validate_inputs(cls, start_percent, end_percent, mode, units, preset) -> bool | str:
        values = (DEFAULT.strength, DEFAULT.percentile, DEFAULT.draws.samples, start_percent, end_percent, mode, units, preset)
        return checked(lambda: guidance_options(*values), *values)


class UncertaintyGuidedSampler(Checked, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_UncertaintyGuidedSampler",
            "Uncertainty-Guided Sampler",
            "Samples like KSampler, steers each step by the model's own uncertainty, and tells how unsure the model is of each image. "
            + PRICE
            + f" At strength 0 it draws what KSampler draws and only measures, with {DEFAULT.draws.samples} calls at each of a few steps.",
            inputs=[
                *ksampler_inputs(
                    "The seed of the starting noise, as in KSampler, and of the noise draws.", "The sampler. Any sampler can be used here."
                ),
                *guidance_inputs(),
                calibration_input(),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The finished latent."),
                Uncertainty.Output(
                    display_name="uncertainty", tooltip="A map and a score for each image, measured from the draws of the guidance."
                ),
            ],
            live=True,
            search_aliases=["guidance", "ksampler"],
        )

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
        strength: float,
        percentile: float,
        samples: int,
        start_percent: float,
        end_percent: float,
        mode: str,
        units: str,
        preset: str,
        calibration: StepThresholds | None = None,
    ) -> io.NodeOutput:
        options = guidance_options(strength, percentile, samples, start_percent, end_percent, mode, units, preset, calibration)
        sampling = KSample(model, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise)
        live = Live(cls.hidden.unique_id, cls.SCHEMA.node_id)
        stage = Stage(live)
        latent, result = sample_guided(sampling, options, on_trace=stage.show, live=live)
        return io.NodeOutput(latent, warn_of_failed(result, "Uncertainty-Guided Sampler"), ui=stage.shown | live.shown)


class UncertaintyGuidance(Checked, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_UncertaintyGuidance",
            "Uncertainty Guidance",
            "Steers any sampler by the model's own uncertainty. Put it between the loader and the sampler. " + PRICE,
            inputs=[io.Model.Input("model", tooltip="The model to steer."), *guidance_inputs(), calibration_input()],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model, for any sampler, guider or detailer."),
                Record.Output(display_name="record", tooltip=RECORD_TOOLTIP),
            ],
            live=True,
            search_aliases=["guidance", "model patch"],
        )

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        strength: float,
        percentile: float,
        samples: int,
        start_percent: float,
        end_percent: float,
        mode: str,
        units: str,
        preset: str,
        calibration: StepThresholds | None = None,
    ) -> io.NodeOutput:
        options = guidance_options(strength, percentile, samples, start_percent, end_percent, mode, units, preset, calibration)
        record, live = RunRecord(), Live(cls.hidden.unique_id, cls.SCHEMA.node_id)
        stage = Stage(live)
        patched = attach_guidance(model, options, record, on_trace=stage.tell, live=live)
        return io.NodeOutput(patched, record, ui=stage.shown | live.shown)


class UncertaintyGuider(Checked, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_UncertaintyGuider",
            "Uncertainty Guider",
            "A guider for SamplerCustomAdvanced that adds uncertainty guidance to CFG. " + PRICE,
            inputs=[
                io.Model.Input("model", tooltip="The model to steer."),
                io.Conditioning.Input("positive", tooltip="The prompt: what the image should show."),
                io.Conditioning.Input("negative", tooltip="The negative prompt: what the image should not show."),
                number_input("cfg", CFG, "The scale of classifier-free guidance. 1 turns it off.", round=0.01),
                *guidance_inputs(),
                calibration_input(),
            ],
            outputs=[
                io.Guider.Output(display_name="guider", tooltip="The guider, for SamplerCustomAdvanced."),
                Record.Output(display_name="record", tooltip=RECORD_TOOLTIP),
            ],
            live=True,
            search_aliases=["guidance", "guider"],
        )

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        positive: io.Conditioning.Type,
        negative: io.Conditioning.Type,
        cfg: float,
        strength: float,
        percentile: float,
        samples: int,
        start_percent: float,
        end_percent: float,
        mode: str,
        units: str,
        preset: str,
        calibration: StepThresholds | None = None,
    ) -> io.NodeOutput:
        options = guidance_options(strength, percentile, samples, start_percent, end_percent, mode, units, preset, calibration)
        record, live = RunRecord(), Live(cls.hidden.unique_id, cls.SCHEMA.node_id)
        stage = Stage(live)
        guider = make_guider(model, positive, negative, cfg, options, record, stage.tell, live)
        return io.NodeOutput(guider, record, ui=stage.shown | live.shown)


NODES = [UncertaintyGuidedSampler, UncertaintyGuidance, UncertaintyGuider]
