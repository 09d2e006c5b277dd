"""Uncertainty of the model itself: Generative Uncertainty, BayesDiff Uncertainty and Dropout Uncertainty."""

from __future__ import annotations

from comfy_api.latest import io

from ..core.last_layer.laplace import Laplace
from ..core.options import BayesDiffOptions, DrawOptions, DropoutOptions, GenerativeOptions, StepWindow
from ..hosts.comfyui.estimate import dropout, estimate_latent, picture
from ..hosts.comfyui.ksampler import KSample
from ..hosts.comfyui.last_layer.bayesdiff import SAMPLERS, check_sampler, count_calls, sample_bayesdiff
from ..hosts.comfyui.last_layer.generative import sample_generative
from .estimate import LEVELS, level_inputs, mix_inputs, unscorable
from .sampling import ksampler_inputs
from .sockets import LaplaceFit, Uncertainty, checked, option_input, schema, seed_input

GENERATIVE, DROPOUT = GenerativeOptions(), DropoutOptions()
BAYESDIFF = BayesDiffOptions(every=5)  # the paper's cheap variant: on every step it is ten times the sampling itself
LAPLACE_TOOLTIP = "From Fit or Load Last-Layer Laplace: made for this very model, with the same LoRAs."
UNCERTAINTY_TOOLTIP = "Maps and scores, high = unsure. For Sample Filter, Uncertainty Heatmap and Uncertainty Report."


class GenerativeUncertainty(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_GenerativeUncertainty",
            "Generative Uncertainty",
            "KSampler that draws every image once more with each of several slightly different models, from the same noise, and tells how "
            f"far the images differ in meaning: high = bad. Costs members further samplings, {GENERATIVE.members} by default: "
            f"+{GENERATIVE.members * 20} steps of 20 steps, twice as many model calls with cfg above 1.",
            inputs=[
                *ksampler_inputs("Of the starting noise, as in KSampler, and of the drawn models.", "The sampling algorithm; all work."),
                LaplaceFit.Input("laplace", tooltip=LAPLACE_TOOLTIP),
                io.Vae.Input("vae", tooltip="Decodes the latents: what is compared are images."),
                option_input("members", GENERATIVE, "members", "How many models to draw beside the trained one. Each costs one sampling."),
                option_input(
                    "member_steps",
                    GENERATIVE,
                    "member_steps",
                    "Number of steps of the further samplings: 0 = as many as steps. Fewer steps save time. The trained model is then "
                    "sampled once more with the same few steps, so that like is compared with like.",
                    advanced=True,
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="Says what an image means, such as CLIP ViT-B/32. Needed for all but the demo model: what is used without it "
                    "knows handwritten digits only.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="What KSampler draws."),
                io.Image.Output(display_name="images", tooltip="The same, decoded."),
                Uncertainty.Output(display_name="uncertainty", tooltip=UNCERTAINTY_TOOLTIP),
            ],
            search_aliases=["laplace", "bayesian", "epistemic", "ksampler"],
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
        laplace: Laplace,
        vae: io.Vae.Type,
        members: int,
        member_steps: int,
        clip_vision: io.ClipVision.Type | None = None,
    ) -> io.NodeOutput:
        sampling = KSample(model, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise)
        options = GenerativeOptions(members=members, member_steps=member_steps, seed=seed)
        return io.NodeOutput(*sample_generative(sampling, laplace, vae, clip_vision, options))


class BayesDiff(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_BayesDiff",
            "BayesDiff Uncertainty",
            "KSampler that carries the doubt of the model's last layer from step to step into every pixel of the image: high = bad. "
            f"Costs 1 + draws model calls at each measured step, +{count_calls(20, BAYESDIFF)} for 20 steps at the defaults; "
            "twice that with cfg above 1.",
            inputs=[
                *ksampler_inputs(
                    "Of the starting noise, as in KSampler, and of the draws.",
                    "Only samplers that add no noise and call the model once a step.",
                    SAMPLERS,
                ),
                LaplaceFit.Input("laplace", tooltip=LAPLACE_TOOLTIP),
                option_input(
                    "skip",
                    BAYESDIFF,
                    "every",
                    "Measure only every k-th step, to save time: 1 = every step. At the other steps the prediction counts as exact.",
                ),
                option_input(
                    "draws",
                    BAYESDIFF.draws,
                    "samples",
                    "How many times the unfinished image is drawn at each measured step. Each draw costs one model call.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="What KSampler draws."),
                Uncertainty.Output(display_name="uncertainty", tooltip=UNCERTAINTY_TOOLTIP),
            ],
            search_aliases=["laplace", "bayesian", "epistemic", "ksampler"],
        )

    @classmethod
    def validate_inputs(cls, sampler_name: str | None) -> bool | str:
        return checked(lambda: check_sampler(sampler_name), sampler_name)

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
        laplace: Laplace,
        skip: int,
        draws: int,
    ) -> io.NodeOutput:
        sampling = KSample(model, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise)
        options = BayesDiffOptions(draws=DrawOptions(draws, seed), every=skip)
        return io.NodeOutput(*sample_bayesdiff(sampling, laplace, options))


def dropout_options(samples: int, start: float, end: float, seed: int) -> DropoutOptions:
    return DropoutOptions(DrawOptions(samples, seed), StepWindow(start, end))


class DropoutUncertainty(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        draws = DROPOUT.draws
        return schema(
            "UQ_DropoutUncertainty",
            "Dropout Uncertainty",
            "Scores finished latents by MC dropout, the classical baseline: adds noise, lets the model predict several times with units "
            "left out as in training, and measures how far the predictions differ: high = bad. Most large models have no dropout, and "
            f"then it says so. Costs samples x levels model calls per image, +{draws.samples * LEVELS.default} by default, or "
            "twice as many with cfg above 1.",
            inputs=[
                io.Model.Input("model", tooltip="A model that was trained with dropout, such as the demo model."),
                io.Conditioning.Input("positive", tooltip="The prompt the latent was made with."),
                io.Latent.Input("latent", tooltip="The finished latents, from a sampler or from VAE Encode."),
                option_input(
                    "samples",
                    draws,
                    "samples",
                    "Number of passes at each noise level. Each pass leaves other units out and costs one model call per image and level.",
                ),
                *level_inputs(DROPOUT.window),
                seed_input("Of the noise and of the units left out. The same seed gives the same score."),
                *mix_inputs(),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The latent as it came."),
                Uncertainty.Output(display_name="uncertainty", tooltip=UNCERTAINTY_TOOLTIP),
                io.Image.Output(display_name="heatmap", tooltip="The map as a picture, bright = unsure."),
                io.Float.Output(display_name="scores", is_output_list=True, tooltip="One number per image, high = unsure."),
            ],
            search_aliases=["mc dropout", "bayesian", "epistemic"],
        )

    @classmethod
    def validate_inputs(cls, samples, start_percent, end_percent, cfg=1.0, negative=False) -> bool | str:
        values = (samples, start_percent, end_percent)
        return unscorable(end_percent, cfg, negative) or checked(lambda: dropout_options(*values, 0), *values)

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
        seed: int,
        negative: io.Conditioning.Type | None = None,
        cfg: float = 1.0,
    ) -> io.NodeOutput:
        options = dropout_options(samples, start_percent, end_percent, seed)
        result = estimate_latent(model, positive, latent, options, levels, negative, cfg, dropout)
        return io.NodeOutput(latent, result, picture(result), result.scores.tolist())


NODES = [GenerativeUncertainty, BayesDiff, DropoutUncertainty]
