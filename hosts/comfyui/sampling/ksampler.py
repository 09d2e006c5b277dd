"""ComfyUI host: what the stock KSampler does, as a value that nodes can run, alter and run again."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
from comfy.model_patcher import ModelPatcher
from torch import Tensor

Latent = dict[str, Any]
Conditioning = list[list[Any]]
OnStep = Callable[[int, Tensor, Tensor, int], None]  # step, denoised, x, steps
RATIOS = ("downscale_ratio_spacial", "downscale_ratio_temporal")  # what newer versions note on an empty latent


def sampler_names() -> tuple[list[str], list[str]]:
    """Samplers and schedulers, with those that other packs have added."""
    return comfy.samplers.KSampler.SAMPLERS, comfy.samplers.KSampler.SCHEDULERS


@dataclass(frozen=True)
class KSample:
    """The inputs of KSampler. ``replace`` the model by a patched clone of it, or the steps."""

    model: ModelPatcher
    seed: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    positive: Conditioning
    negative: Conditioning
    latent: Latent
    denoise: float

    def sigmas(self) -> Tensor:
        """(S + 1,) noise levels of the run. Raises ValueError for names that are not known, and when no step is left (denoise 0)."""
        samplers, schedulers = sampler_names()
        check_known("sampler_name", self.sampler_name, samplers)
        check_known("scheduler", self.scheduler, schedulers)
        schedule = (self.sampler_name, self.scheduler, self.denoise, self.model.model_options)
        sigmas = comfy.samplers.KSampler(self.model, self.steps, self.model.load_device, *schedule).sigmas
        if len(sigmas) < 2:
            raise ValueError(f"denoise {self.denoise:g} leaves no step to sample; raise it.")
        return sigmas

    def run(self, on_step: OnStep | None = None) -> Latent:
        """The sampled latent, bit for bit KSampler's, from the same noise each time. Raises what ``sigmas`` raises."""
        self.sigmas()
        image = fit_empty(self.model, self.latent)
        samples = comfy.sample.sample(
            self.model,
            comfy.sample.prepare_noise(image, self.seed, self.latent.get("batch_index")),
            self.steps,
            self.cfg,
            self.sampler_name,
            self.scheduler,
            self.positive,
            self.negative,
            image,
            denoise=self.denoise,
            noise_mask=self.latent.get("noise_mask"),
            callback=on_step,
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=self.seed,
        )
        kept = {name: value for name, value in self.latent.items() if name not in RATIOS}
        return {**kept, "samples": samples}


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
    """One bar for the sampler's steps and the draws between them, with ComfyUI's own previews. Several runs may share it."""

    def __init__(self, model: ModelPatcher, total: int) -> None:
        self.total, self.end, self.done = total, total, 0
        self.bar = comfy.utils.ProgressBar(total)
        self.preview = latent_preview.prepare_callback(model, total)

    def start_run(self, length: int) -> None:
        """Of the runs that share the bar, the next, which comes to ``length`` steps and draws."""
        self.end = self.done + length

    def count(self, draws: int) -> None:
        self.done = min(self.done + draws, self.end - 1)  # samplers with several evaluations a step come to more
        self.bar.update_absolute(self.done, self.total)

    def step(self, step: int, denoised: Tensor, x: Tensor, total_steps: int) -> None:
        self.done = self.end if step + 1 == total_steps else min(self.done + 1, self.end - 1)
        self.preview(self.done - 1, denoised, x, self.total)
