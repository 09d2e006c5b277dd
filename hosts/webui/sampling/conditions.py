"""WebUI host: the negative prompt as a denoiser, which Forge does not encode where it samples without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from backend.sampling.condition import compile_conditions
from backend.sampling.sampling_function import sampling_cleanup, sampling_prepare
from modules import prompt_parser
from torch import Tensor

from .model import CompiledDenoiser, Cond


def reference_of(p: Any, conditional: CompiledDenoiser, uncond: Cond | None, is_second: bool) -> CompiledDenoiser:
    return replace(conditional, cond=uncond if uncond is not None else negative_condition(p, conditional.cond, is_second))


def negative_condition(p: Any, cond: Cond, is_second: bool) -> Cond:
    """At CFG 1 the web UI does not encode the negative prompt. What a condition holds beside its text goes along."""
    texts = p.hr_negative_prompts if is_second else p.negative_prompts
    prompts = prompt_parser.SdConditioning(texts, width=p.width, height=p.height, is_negative_prompt=True)
    schedule = prompt_parser.get_learned_conditioning(p.sd_model, prompts, p.steps)
    compiled = compile_conditions(prompt_parser.reconstruct_cond_batch(schedule, p.steps))
    example = (cond or [{}])[0]
    for part in compiled:
        part["model_conds"] = {**example["model_conds"], **part["model_conds"]}
        part.update({name: value for name, value in example.items() if name == "control"})
    return compiled


@contextmanager
def model_loaded(unet: Any, latents: Tensor) -> Iterator[Tensor]:
    """The latents where the model is, which is loaded for as long as the block runs."""
    latents = latents.to(unet.load_device)
    sampling_prepare(unet, latents)
    try:
        yield latents
    finally:
        sampling_cleanup(unet)
