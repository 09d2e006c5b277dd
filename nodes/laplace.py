"""The posterior over a model's last layer: Fit, Save and Load Last-Layer Laplace."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..core.demo.network import LAPLACE
from ..core.last_layer.laplace import Laplace
from ..core.options import Bounds, Covariance, LaplaceOptions, bounds, choose
from ..core.options.limits import BATCH
from ..hosts.comfyui.files import find, names, stamp, target
from ..hosts.comfyui.last_layer.laplace import fit_laplace
from .sockets import LaplaceFit, checked, number_input, option_input, schema, seed_input

KIND = "laplace"
DEFAULT = LaplaceOptions()
PRIOR, NOISE = bounds(DEFAULT, "prior_precision"), bounds(DEFAULT, "noise_variance")
BUNDLED = "demo (bundled)"  # no file can have this name
OUTPUT = LaplaceFit.Output(
    display_name="laplace", tooltip="The fit, for Generative Uncertainty, BayesDiff Uncertainty or Save Last-Layer Laplace."
)


def laplace_options(draws: int, prior_precision: float, seed: int, covariance: str, noise_variance: float) -> LaplaceOptions:
    chosen = choose("covariance", covariance, Covariance)
    return LaplaceOptions(chosen, infinite(prior_precision), noise_variance, draws, seed)


def infinite(prior_precision: float) -> float:
    return math.inf if prior_precision >= 0.99 * PRIOR.high else prior_precision


def positive(limits: Bounds) -> Bounds:
    """As a widget can show it: from its step on, and its highest value stands for infinity."""
    return replace(limits, low=limits.step or limits.low)


def as_fitted(limits: Bounds) -> Bounds:
    """With 0 for the value of the fit, which is the default."""
    return replace(limits, default=0.0, low=0.0)


class FitLaplace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_FitLaplace",
            "Fit Last-Layer Laplace",
            "Learns from example images how certain the weights of the model's last layer are. Generative Uncertainty and BayesDiff "
            f"Uncertainty need this. Costs draws model calls per example, {DEFAULT.draws} by default, without a backward pass through the "
            "model.",
            inputs=[
                io.Model.Input("model", tooltip="The model, with all LoRAs that you will sample with."),
                io.Latent.Input(
                    "latents",
                    tooltip="Examples of what the model was trained on, from VAE Encode. Some hundreds are good, 2 are the least. "
                    "A list of latents counts as one set.",
                ),
                io.Conditioning.Input("positive", tooltip="The prompt of the examples: one for all, or a list with one for each latent."),
                option_input(
                    "draws",
                    DEFAULT,
                    "draws",
                    "How many noisy copies of each example to use, each at its own noise level. More copies help where there "
                    "are few examples.",
                ),
                number_input(
                    "prior_precision",
                    positive(PRIOR),
                    "How certain the trained weights are before any example is seen. A higher value gives less spread, and 1e30 "
                    "none at all.",
                ),
                seed_input("The seed of the noise of the copies."),
                io.Combo.Input(
                    "covariance",
                    [c.value for c in Covariance],
                    default=DEFAULT.covariance.value,
                    tooltip="How the weights vary. diagonal lets every weight vary by itself, as in the papers. kronecker lets weights "
                    "that act together vary together.",
                ),
                io.String.Input(
                    "layer", default="", tooltip="The name of the last layer inside the model. If it is empty, the node finds the layer."
                ),
                number_input("batch_size", BATCH, "How many examples share a model call. It changes speed and memory only.", advanced=True),
                number_input(
                    "noise_variance",
                    positive(NOISE),
                    "How much of the error at an example counts as chance. A higher value gives more spread. With many examples it "
                    "matters more than prior_precision.",
                ),
            ],
            outputs=[OUTPUT],
            is_input_list=True,
            search_aliases=["laplace", "bayesian", "posterior"],
        )

    @classmethod
    def validate_inputs(
        cls,
        draws: list[int | None],
        prior_precision: list[float | None],
        seed: list[int | None],
        covariance: list[str | None],
        noise_variance: list[float | None],
    ) -> bool | str:
        values = (draws[0], prior_precision[0], seed[0], covariance[0], noise_variance[0])
        return checked(lambda: laplace_options(*values), *values)

    @classmethod
    def execute(
        cls,
        model: list[io.Model.Type],
        latents: list[io.Latent.Type],
        positive: list[io.Conditioning.Type],
        draws: list[int],
        prior_precision: list[float],
        seed: list[int],
        covariance: list[str],
        layer: list[str],
        batch_size: list[int],
        noise_variance: list[float],
    ) -> io.NodeOutput:
        options = laplace_options(draws[0], prior_precision[0], seed[0], covariance[0], noise_variance[0])
        return io.NodeOutput(fit_laplace(model[0], latents, positive, options, layer[0].strip(), batch_size[0]))


class SaveLaplace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_SaveLaplace",
            "Save Last-Layer Laplace",
            "Writes a Laplace fit to output/uncertainty/laplace, so that it need not be made again. Costs nothing.",
            inputs=[
                LaplaceFit.Input("laplace", tooltip="The fit, from Fit Last-Layer Laplace."),
                io.String.Input("name", default="laplace", tooltip="The name of the file. A file that already has this name is replaced."),
            ],
            outputs=[OUTPUT],
            is_output_node=True,
            search_aliases=["laplace", "bayesian", "posterior"],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        return checked(lambda: target(KIND, name), name)

    @classmethod
    def execute(cls, laplace: Any, name: str) -> io.NodeOutput:
        laplace.save(target(KIND, name))
        return io.NodeOutput(laplace, ui={"text": [describe(laplace)]})


def describe(laplace: Laplace) -> str:
    return f"{laplace.samples} samples, layer {laplace.identity.name} ({laplace.identity.layer}), {laplace.options.covariance.value}"


class LoadLaplace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "UQ_LoadLaplace",
            "Load Last-Layer Laplace",
            "Reads a Laplace fit. It belongs to the model that it was made for, and is refused with another. Costs nothing.",
            inputs=[
                io.Combo.Input(
                    "name",
                    [BUNDLED, *names(KIND)],
                    tooltip="A file of output/uncertainty/laplace or models/uncertainty/laplace, or the fit that comes with the "
                    "demo model.",
                ),
                number_input(
                    "prior_precision", as_fitted(PRIOR), "0 keeps the value of the fit. Any other value replaces it, without a new fit."
                ),
                number_input(
                    "noise_variance", as_fitted(NOISE), "0 keeps the value of the fit. Any other value replaces it, without a new fit."
                ),
            ],
            outputs=[OUTPUT],
            search_aliases=["laplace", "bayesian", "posterior"],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        try:
            path_of(name or BUNDLED)
        except (FileNotFoundError, ValueError) as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, name: str, prior_precision: float, noise_variance: float) -> str:
        return stamp(KIND, name)

    @classmethod
    def execute(cls, name: str, prior_precision: float, noise_variance: float) -> io.NodeOutput:
        laplace = Laplace.load(path_of(name))
        chosen = {"prior_precision": infinite(prior_precision), "noise_variance": noise_variance}
        options = replace(laplace.options, **{option: value for option, value in chosen.items() if value})
        return io.NodeOutput(replace(laplace, options=options))


def path_of(name: str) -> Path:
    """Raises FileNotFoundError, naming where it was looked for."""
    return LAPLACE if name == BUNDLED else find(KIND, name)


NODES = [FitLaplace, SaveLaplace, LoadLaplace]
