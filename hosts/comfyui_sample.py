"""ComfyUI host: a sampler node's work and a GUIDER, both with uncertainty guidance."""

from __future__ import annotations

import inspect
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..core.guidance import MIN_ALPHA
from ..core.options import AleatoricOptions, GuidanceMode, GuidanceOptions
from ..core.result import Uncertainty
from ..core.schedule import SigmaWindow
from .comfyui import percent_to_sigma, process_of
from .comfyui_record import Record
from .comfyui_run import OnDraws, attach

Latent = dict[str, Any]
Conditioning = list[list[Any]]
RATIOS = ("downscale_ratio_spacial", "downscale_ratio_temporal")  # what newer versions note on an empty latent


def sampler_names() -> tuple[list[str], list[str]]:
    """Samplers and schedulers, with those that other packs have added."""
    return comfy.samplers.KSampler.SAMPLERS, comfy.samplers.KSampler.SCHEDULERS


def attach_guidance(model: ModelPatcher, options: GuidanceOptions, record: Record, on_draws: OnDraws | None = None) -> ModelPatcher:
    """A clone of ``model`` under guidance. What it measures lies in the default window of recording, so that strengths compare."""
    return attach(model, record, AleatoricOptions(draws=options.draws), options, on_draws)


def make_guider(
    model: ModelPatcher, positive: Conditioning, negative: Conditioning, cfg: float, options: GuidanceOptions, record: Record
) -> comfy.samplers.CFGGuider:
    guider = comfy.samplers.CFGGuider(attach_guidance(model, options, record))
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def sample_guided(
    model: ModelPatcher,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    denoise: float,
    options: GuidanceOptions,
) -> tuple[Latent, Uncertainty]:
    """What KSampler does, bit for bit at strength 0, under guidance; and the uncertainty of what was made.

    Raises ValueError when no step is left to sample (denoise 0), or for what ``attach`` refuses.
    """
    samplers, schedulers = sampler_names()
    check_known("sampler_name", sampler_name, samplers)
    check_known("scheduler", scheduler, schedulers)
    schedule = comfy.samplers.KSampler(model, steps, model.load_device, sampler_name, scheduler, denoise, model.model_options)
    if len(schedule.sigmas) < 2:
        raise ValueError(f"denoise {denoise:g} leaves no step to sample; raise it.")
    record, progress = Record(), Progress(model, schedule.sigmas, options)
    image = fit_empty(model, latent)
    samples = comfy.sample.sample(
        attach_guidance(model, options, record, progress.count),
        comfy.sample.prepare_noise(image, seed, latent.get("batch_index")),
        steps,
        cfg,
        sampler_name,
        scheduler,
        positive,
        negative,
        image,
        denoise=denoise,
        noise_mask=latent.get("noise_mask"),
        callback=progress.step,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    kept = {name: value for name, value in latent.items() if name not in RATIOS}
    return {**kept, "samples": samples}, record.of(samples)


def fit_empty(model: ModelPatcher, latent: Latent) -> Tensor:
    """An empty latent in the model's own shape, by what this version of ComfyUI knows of empty latents; others as they are."""
    fit = comfy.sample.fix_empty_latent_channels
    ratios = {name: latent[name] for name in RATIOS if name in latent and name in inspect.signature(fit).parameters}
    return fit(model, latent["samples"], **ratios)


def check_known(name: str, value: str, known: list[str]) -> None:
    """Raises ValueError: ComfyUI would quietly take the first of its list."""
    if value not in known:
        raise ValueError(f"{name} {value!r} is not known to this ComfyUI; choose another from the list.")


class Progress:
    """One bar for the sampler's steps and the draws between them, with ComfyUI's own previews."""

    def __init__(self, model: ModelPatcher, sigmas: Tensor, options: GuidanceOptions) -> None:
        self.total = len(sigmas) - 1 + count_draws(model, sigmas[:-1], options)
        self.done = 0
        self.bar = comfy.utils.ProgressBar(self.total)
        self.preview = latent_preview.prepare_callback(model, self.total)

    def count(self, draws: int) -> None:
        self.done = min(self.done + draws, self.total - 1)  # samplers with several evaluations a step come to more
        self.bar.update_absolute(self.done, self.total)

    def step(self, step: int, denoised: Tensor, x: Tensor, total_steps: int) -> None:
        self.done = self.total if step + 1 == total_steps else min(self.done + 1, self.total - 1)
        self.preview(self.done - 1, denoised, x, self.total)


def count_draws(model: ModelPatcher, sigmas: Tensor, options: GuidanceOptions) -> int:
    """Evaluations per image that guidance, or at strength 0 the measuring alone, adds to one evaluation at each sigma."""
    sampling = model.get_model_object("model_sampling")
    window = options.window if options.strength else AleatoricOptions().window
    active = SigmaWindow.resolve(window, percent_to_sigma(sampling)).is_active
    alphas = process_of(sampling).alpha(sigmas)
    if not options.strength:
        return options.draws.samples * max(1, sum(active(float(s)) for s in sigmas))
    each = options.draws.samples * (2 if options.mode is GuidanceMode.FORWARD else 1)
    return each * sum(active(float(s)) and float(a) >= MIN_ALPHA for s, a in zip(sigmas, alphas, strict=True))
