"""Uncertainty of the model itself: Generative Uncertainty, BayesDiff Uncertainty and Dropout Uncertainty."""

from __future__ import annotations

from comfy_api.latest import io

from ..core.last_layer.laplace import Laplace
from ..core.options import BayesDiffOptions, DrawOptions, DropoutOptions, GenerativeOptions, StepWindow
from ..hosts.comfyui.estimate import dropout, estimate_latent, picture
from ..hosts.comfyui.last_layer.bayesdiff import SAMPLERS, check_sampler, count_calls, sample_bayesdiff
from ..hosts.comfyui.last_layer.generative import sample_generative
from ..hosts.comfyui.sampling.ksampler import KSample
from ..hosts.comfyui.view.report import warn_of_failed
from .estimate import LEVELS, level_inputs, mix_inputs, unscorable
from .sampling import ksampler_inputs
from .sockets import LaplaceFit, Uncertainty, checked, option_input, schema, seed_input

GENERATIVE, DROPOUT = GenerativeOptions(), DropoutOptions()
BAYESDIFF = BayesDiffOptions(every=5)  # the paper's cheap variant: on every step it is ten times the sampling itself
LAPLACE_TOOLTIP = (
    "The Laplace fit, from Fit Last-Layer Laplace or Load Last-Layer Laplace. It must belong to this very model, with the same LoRAs."
)
UNCERTAINTY_TOOLTIP = (
    "A map and a score for each image. High means unsure. Connect it to Sample Filter, Uncertainty Heatmap or Uncertainty Report."
)


class GenerativeUncertainty(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_GenerativeUncertainty",
            "Generative Uncertainty",
            "Samples like KSampler, then draws every image again from the same noise with several slightly different models, and measures "
            "how far these images differ in meaning. A high score is bad. "
            f"Costs one more sampling for each member, {GENERATIVE.members} by default.",
            inputs=[
                *ksampler_inputs(
                    "The seed of the starting noise, as in KSampler, and of the drawn models.", "The sampler. Any sampler can be used here."
                ),
                LaplaceFit.Input("laplace", tooltip=LAPLACE_TOOLTIP),
                io.Vae.Input("vae", tooltip="The VAE that decodes the latents, because images are compared and not latents."),
                option_input(
                    "members",
                    GENERATIVE,
                    "members",
                    "How many models to draw in addition to the trained one. Each costs one more sampling.",
                ),
                option_input(
                    "member_steps",
                    GENERATIVE,
                    "member_steps",
                    "How many steps each further sampling takes. 0 stands for as many as steps. Fewer steps save time; the trained model "
                    "is then sampled once more with the same few steps, so that like is compared with like.",
                    advanced=True,
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="The model that says what an image means, such as CLIP ViT-B/32. Only the demo model works without it: what "
                    "is used in its place knows nothing but handwritten digits.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The same latent that KSampler draws."),
                io.Image.Output(display_name="images", tooltip="The same images, decoded."),
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
        latent, images, result = sample_generative(sampling, laplace, vae, clip_vision, options)
        return io.NodeOutput(latent, images, warn_of_failed(result, "Generative Uncertainty"))


class BayesDiff(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_BayesDiff",
            "BayesDiff Uncertainty",
            "Samples like KSampler, and computes how the uncertainty of the model's last layer grows from step to step in every pixel of "
            f"the image. A high score is bad. Costs 1 + draws model calls at each measured step, {count_calls(20, BAYESDIFF)} in 20 steps "
            "at the defaults, and twice as many with cfg above 1.",
            inputs=[
                *ksampler_inputs(
                    "The seed of the starting noise, as in KSampler, and of the draws.",
                    "The sampler. Only samplers that add no noise and call the model once a step can be used here.",
                    SAMPLERS,
                ),
                LaplaceFit.Input("laplace", tooltip=LAPLACE_TOOLTIP),
                option_input(
                    "skip",
                    BAYESDIFF,
                    "every",
                    "How often to measure: 1 measures every step, 5 every fifth step, which saves time. At the other steps the prediction "
                    "counts as exact.",
                ),
                option_input(
                    "draws",
                    BAYESDIFF.draws,
                    "samples",
                    "How many times the unfinished image is drawn at each measured step. Each draw costs one model call.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The same latent that KSampler draws."),
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
        latent, result = sample_bayesdiff(sampling, laplace, options)
        return io.NodeOutput(latent, warn_of_failed(result, "BayesDiff Uncertainty"))


def dropout_options(samples: int, start: float, end: float, seed: int) -> DropoutOptions:
    return DropoutOptions(DrawOptions(samples, seed), StepWindow(start, end))


class DropoutUncertainty(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        draws = DROPOUT.draws
        return schema(
            "UQ_DropoutUncertainty",
            "Dropout Uncertainty",
            "Scores finished latents by MC dropout, the classical baseline. It adds noise, lets the model predict several times with units "
            "left out as in training, and measures how far the predictions differ. A high score is bad. Most large models have no dropout "
            f"and are refused. Costs samples x levels model calls per image, {draws.samples * LEVELS.default} by default, and "
            "twice as many with a cfg other than 1.",
            inputs=[
                io.Model.Input("model", tooltip="A model that was trained with dropout, such as the demo model."),
                io.Conditioning.Input("positive", tooltip="The prompt that the latent was made with."),
                io.Latent.Input("latent", tooltip="The finished latents, from a sampler or from VAE Encode."),
                option_input(
                    "samples",
                    draws,
                    "samples",
                    "How many passes to make at each noise level. Each pass leaves out other units, and costs one model call "
                    "per image and level.",
                ),
                *level_inputs(DROPOUT.window),
                seed_input("The seed of the noise and of the units that are left out. The same seed gives the same score."),
                *mix_inputs(),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The latent, unchanged."),
                Uncertainty.Output(display_name="uncertainty", tooltip=UNCERTAINTY_TOOLTIP),
                io.Image.Output(display_name="heatmap", tooltip="The map as a picture. Bright means unsure."),
                io.Float.Output(display_name="scores", is_output_list=True, tooltip="One number for each image. High means unsure."),
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
        warn_of_failed(result, "Dropout Uncertainty")
        return io.NodeOutput(latent, result, picture(result), result.scores.tolist())


NODES = [GenerativeUncertainty, BayesDiff, DropoutUncertainty]
