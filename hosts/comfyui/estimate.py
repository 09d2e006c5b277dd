"""ComfyUI host: score finished latents, through the same doors as a sampler, so that every conditioning and hook works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import comfy.samplers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.denoiser import Process
from ...core.options import AleatoricOptions, DropoutOptions, HeatmapOptions
from ...core.pixelwise import mc_dropout
from ...core.pixelwise.aleatoric import OnLevel, estimate_aleatoric
from ...core.result import Uncertainty
from ...core.schedule import levels
from ...core.view.heatmap import heatmap
from .model import Conditioned, check_active, check_latent, percent_to_sigma, process_of
from .sampling.fingerprint import describe_model
from .sampling.probe import Conditioning, Probe, run_in_place

Options = AleatoricOptions | DropoutOptions
Measure = Callable[[Conditioned, Tensor, Sequence[float], Process, Any], Uncertainty]
PIXELS = 8


class Estimator(Probe):
    """The uncertainty of the latent that it is given."""

    def __init__(self, options: Options, levels: Sequence[float], measure: Measure) -> None:
        self.options, self.levels, self.measure_with = options, levels, measure
        self.result: Uncertainty | None = None

    def measure(self, guider: comfy.samplers.CFGGuider, latent: Tensor, options: dict[str, Any]) -> None:
        model = guider.inner_model
        cond, uncond = guider.conds["positive"], guider.conds.get("negative")
        check_active(cond, self.levels)
        draws = self.options.draws
        bar = comfy.utils.ProgressBar(len(self.levels) * draws.samples)
        batch = latent.shape[0]
        conditioned = Conditioned(model, cond, options, uncond, guider.cfg, lambda rows: bar.update(rows // batch))
        conditioned.check_neighbours(latent, latent.new_full((batch,), self.levels[0]))
        self.result = self.measure_with(conditioned, latent, self.levels, process_of(model.model_sampling), self.options)


def aleatoric(
    conditioned: Conditioned,
    latent: Tensor,
    levels: Sequence[float],
    process: Process,
    options: AleatoricOptions,
    on_level: OnLevel | None = None,
) -> Uncertainty:
    """Re-noised draws, as many to a call as memory allows."""
    fitting = replace(options.draws, micro_batch=conditioned.draws_at_once(latent, options.draws.samples))
    passes = conditioned.passes(levels[0])
    return estimate_aleatoric(conditioned, latent, levels, process, replace(options, draws=fitting), passes, on_level)


def dropout(conditioned: Conditioned, latent: Tensor, levels: Sequence[float], process: Process, options: DropoutOptions) -> Uncertainty:
    """Passes with units dropped. Raises ValueError for a network that has no dropout."""
    network = conditioned.model.diffusion_model
    return mc_dropout.estimate_dropout(network, conditioned, latent, levels, process, options, conditioned.passes(levels[0]))


def estimate_latent(
    model: ModelPatcher,
    positive: Conditioning,
    latent: dict[str, Any],
    options: Options,
    count: int,
    negative: Conditioning | None = None,
    cfg: float = 1.0,
    measure: Measure = aleatoric,
) -> Uncertainty:
    """The uncertainty of finished latents at ``count`` levels of options.window. cfg 1: of the conditional prediction alone.

    Raises ValueError for an empty latent, one of several parts, cfg without negative, and what ``measure`` refuses.
    """
    samples = latent["samples"]
    check_latent(model, samples)
    if cfg != 1.0 and negative is None:
        raise ValueError(f"cfg is {cfg:g}, which needs a negative conditioning; connect negative or set cfg to 1.")
    sampling = model.get_model_object("model_sampling")
    process_of(sampling)
    sigmas = [min(sigma, float(sampling.sigma_max)) for sigma in levels(options.window, count, percent_to_sigma(sampling))]
    conds = {"positive": positive} if cfg == 1.0 else {"positive": positive, "negative": negative}
    estimator = Estimator(options, sigmas, measure)
    run_in_place(model, conds, samples, estimator, options.draws.seed, latent.get("noise_mask"), cfg)
    provenance = estimator.result.provenance | {"host": "comfyui", **describe_model(model)}
    return replace(estimator.result, provenance=provenance).cpu()


def picture(result: Uncertainty) -> Tensor:
    """An IMAGE of the map, bright = unsure, eight pixels to a latent pixel as in most models' images."""
    maps = result.bad_maps
    if maps.ndim == 3:  # sound
        maps = maps[:, :, None]
    frames = maps.shape[0] * (maps.shape[2] if maps.ndim == 5 else 1)
    canvas = torch.zeros(frames, PIXELS * maps.shape[-2], PIXELS * maps.shape[-1], 3)
    return heatmap(maps, HeatmapOptions(opacity=1.0), canvas)
