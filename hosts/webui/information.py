"""WebUI host: prompt information of finished latents, under the conditions of the sampler's last step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from backend.sampling.condition import compile_conditions
from backend.sampling.sampling_function import sampling_cleanup, sampling_prepare
from modules import prompt_parser
from torch import Tensor

from ...core.options import InformationOptions
from ...core.pixelwise.information import compare
from ...core.pixelwise.quadrature import window_quadrature
from ...core.result import Uncertainty
from .model import CompiledDenoiser, Cond, count_active, percent_to_sigma, process_of
from .patch import SamplingRun, fitting


def measure_information(p: Any, run: SamplingRun, latents: Tensor, options: InformationOptions) -> Uncertainty:
    """i(x; prompt) of finished latents, beside the negative prompt; low = bad. NFE: 2 x samples x levels.

    Raises ValueError where the sampler has told no condition, RuntimeError for what fails in the model.
    """
    if run.cond is None:
        raise ValueError("The sampler took no step, so there is no condition to measure by; use more steps.")
    unet = p.sd_model.forge_objects.unet
    predictor = unet.model.predictor
    quadrature = window_quadrature(options, percent_to_sigma(predictor), process_of(predictor))
    latents = latents.to(unet.load_device)
    uncond = run.uncond if run.uncond is not None else negative_condition(p, run)
    sampling_prepare(unet, latents)
    try:

        def denoiser(cond: Cond, on_rows: Callable[[int], None] = lambda rows: None) -> CompiledDenoiser:
            return CompiledDenoiser(unet.model, cond, unet.model_options, on_rows)

        conditional, reference = denoiser(run.cond), denoiser(uncond)
        fits = replace(options, draws=fitting(options.draws, conditional, latents))
        (information,) = compare(reference, [conditional], latents, quadrature, process_of(predictor), fits)
    finally:
        sampling_cleanup(unet)
    nfe = options.draws.samples * sum(count_active(cond, sigma) for cond in (run.cond, uncond) for sigma in quadrature.sigmas)
    provenance = information.result.provenance | {"host": "webui"}
    return replace(information.result, nfe=float(nfe), provenance=provenance).cpu()


def negative_condition(p: Any, run: SamplingRun) -> Cond:
    """At CFG 1 the web UI does not encode the negative prompt. What a condition holds beside its text goes along."""
    texts = p.hr_negative_prompts if run.is_second else p.negative_prompts
    prompts = prompt_parser.SdConditioning(texts, width=p.width, height=p.height, is_negative_prompt=True)
    schedule = prompt_parser.get_learned_conditioning(p.sd_model, prompts, p.steps)
    compiled = compile_conditions(prompt_parser.reconstruct_cond_batch(schedule, p.steps))
    example = (run.cond or [{}])[0]
    for part in compiled:
        part["model_conds"] = {**example["model_conds"], **part["model_conds"]}
        part.update({name: value for name, value in example.items() if name == "control"})
    return compiled
