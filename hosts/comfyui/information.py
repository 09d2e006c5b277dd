"""ComfyUI host: prompt information of finished latents, and the checklist of a prompt's phrases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import comfy.samplers
import comfy.utils
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.denoiser import Process
from ...core.options import InformationOptions
from ...core.pixelwise.information import Information, compare
from ...core.pixelwise.quadrature import Quadrature, window_quadrature
from .model import Cond, Conditioned, check_active, check_latent, count_active, percent_to_sigma, process_of
from .sampling.fingerprint import describe_model
from .sampling.probe import Conditioning, Probe, run_in_place

DISTILLED = "The model is guidance-distilled: it never learned to predict without a prompt, so take its information as a rough guide."


class Comparer(Probe):
    """Compares what the first of the guider's conditionings predicts with what the others do."""

    def __init__(self, names: Sequence[str], quadrature: Quadrature, process: Process, options: InformationOptions, sign: int) -> None:
        self.names, self.quadrature, self.process, self.options, self.sign = names, quadrature, process, options, sign
        self.results: list[Information] = []

    def measure(self, guider: comfy.samplers.CFGGuider, latent: Tensor, options: dict[str, Any]) -> None:
        draws, conds = self.options.draws, [guider.conds[name] for name in self.names]
        for name, cond in zip(self.names, conds, strict=True):
            check_active(cond, self.quadrature.sigmas, name)
        bar, batch = comfy.utils.ProgressBar(len(self.quadrature.sigmas) * draws.samples * len(conds)), len(latent)
        first = Conditioned(guider.inner_model, conds[0], options, on_rows=lambda rows: bar.update(rows // batch))
        first.check_neighbours(latent, latent.new_full((batch,), self.quadrature.sigmas[0]))
        reference, *others = (replace(first, cond=cond) for cond in conds)
        at_once = min(c.draws_at_once(latent, draws.samples) for c in (reference, *others))
        fitting = replace(self.options, draws=replace(draws, micro_batch=at_once))
        results = compare(reference, others, latent, self.quadrature, self.process, fitting, self.sign)
        nfe = draws.samples * passes(conds, self.quadrature) / len(others)
        self.results = [replace(each, result=replace(each.result, nfe=nfe)) for each in results]


def passes(conds: Sequence[Cond], quadrature: Quadrature) -> int:
    """Network passes of one draw at every level: a conditioning of several parts takes one for each that acts."""
    return sum(count_active(cond, sigma) for cond in conds for sigma in quadrature.sigmas)


def compare_latent(
    model: ModelPatcher,
    conds: dict[str, Conditioning],
    latent: dict[str, Any],
    options: InformationOptions,
    sign: int = 1,
) -> list[Information]:
    """What every conditioning but the first knows of finished latents beyond the first; with sign -1, what the first knows beyond it.

    conds: by the names that errors call them. Raises ValueError for an empty or foreign latent, an empty conditioning, and one
    that says nothing at a noise level.
    """
    samples = latent["samples"]
    check_latent(model, samples)
    for name, cond in conds.items():
        if not cond:
            raise ValueError(f"There is no condition in {name}: connect a prompt.")
    sampling = model.get_model_object("model_sampling")
    process, sigma_of = process_of(sampling), percent_to_sigma(sampling)
    low, high = float(sampling.sigma_min), float(sampling.sigma_max)  # percents 0 and 1 lie outside of what the model learned
    quadrature = window_quadrature(options, lambda percent: min(max(sigma_of(percent), low), high), process)
    comparer = Comparer(list(conds), quadrature, process, options, sign)
    run_in_place(model, conds, samples, comparer, options.draws.seed, latent.get("noise_mask"))
    provenance = {"host": "comfyui", **describe_model(model)}
    return [_with_provenance(each, provenance) for each in comparer.results]


def prompt_information(
    model: ModelPatcher, positive: Conditioning, negative: Conditioning, latent: dict[str, Any], options: InformationOptions
) -> Information:
    """How much of positive finished latents carry, beside negative, in nats; low = bad. NFE: 2 x samples x levels."""
    (information,) = compare_latent(model, {"negative": negative, "positive": positive}, latent, options)
    distilled = model.model.model_config.unet_config.get("guidance_embed")
    return _with_provenance(information, {"caution": DISTILLED} if distilled else {})


def phrase_checklist(
    model: ModelPatcher, conditionings: Sequence[Conditioning], latent: dict[str, Any], options: InformationOptions
) -> list[Information]:
    """What each phrase adds given the rest: the first of conditionings is the whole prompt, the k-th after it lacks phrase k.

    NFE: (phrases + 1) x samples x levels; the empty prompt cancels out and is never run.
    """
    whole, *without = conditionings
    names = {"positive": whole} | {f"conditioning {k + 2}": cond for k, cond in enumerate(without)}
    return compare_latent(model, names, latent, options, sign=-1)


def _with_provenance(information: Information, more: dict[str, str]) -> Information:
    """The same on the CPU, with more about how it was made."""
    result = replace(information.result, provenance=information.result.provenance | more)
    return Information(result.cpu(), information.standard_error.cpu(), information.mutual.cpu())
