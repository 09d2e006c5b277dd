"""ComfyUI host: copies of a candidate, which share its noise up to a step and get their own from there on."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import comfy.samplers
import torch
from comfy.k_diffusion.sampling import default_noise_sampler
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..ensemble.samplers import RehearsalGuider

NoiseParts = tuple[tuple[int, int | None], ...]  # seeds, and how often each is drawn from; None: for all the rest


@dataclass
class PartedNoise:
    """A noise_sampler as ComfyUI's samplers take it: ComfyUI's own, of one seed after another. like: the sample that noise is for."""

    parts: NoiseParts
    like: Tensor
    calls: int = 0  # of the present part

    def __post_init__(self) -> None:
        self.waiting = list(self.parts)
        self.begin()

    def begin(self) -> None:
        seed, self.most = self.waiting.pop(0)
        self.draw, self.calls = default_noise_sampler(self.like, seed=seed), 0

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        while self.calls == self.most:
            self.begin()
        self.calls += 1
        return self.draw(sigma, sigma_next)


def with_noise(sampler: comfy.samplers.KSAMPLER, noise: PartedNoise) -> comfy.samplers.KSAMPLER:
    options = {**sampler.extra_options, "noise_sampler": noise}
    return comfy.samplers.KSAMPLER(sampler.sampler_function, options, sampler.inpaint_options)


class Listener(RehearsalGuider):
    """Keeps the samples that it is asked for."""

    def __init__(self, model: ModelPatcher, sigmas: Tensor) -> None:
        super().__init__(model, sigmas)
        self.samples: list[Tensor] = []

    def outer_predict_noise(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.samples.append(x.clone())
        return super().outer_predict_noise(x, *args, **kwargs)


def check_fresh_noise(name: str, sampler: comfy.samplers.Sampler, model: ModelPatcher, sigmas: Tensor, noise: Tensor, seed: int) -> None:
    """Raises ValueError, by name, for a sampler without noise of its own, or with another kind of it than ComfyUI's plain one."""
    runs = []
    if takes_noise(sampler):
        rows = noise[:1].to(sigmas.device)
        seeded = [with_noise(sampler, PartedNoise(((s, None),), rows)) for s in (seed, seed + 1)]
        for each in (sampler, *seeded):
            listener = Listener(model, sigmas)
            extra_args = {"model_options": listener.run_options, "seed": seed}
            each.sample(listener, sigmas.clone(), extra_args, None, rows.clone(), torch.zeros_like(rows), None, True)
            runs.append(listener.samples)
    if not runs or not same(runs[0], runs[1]) or same(runs[1], runs[2]):
        raise ValueError(
            f"The mode 'resample' gives each copy of a candidate fresh noise, which sampler {name!r} does not take: use euler_ancestral "
            "or lcm, or the mode 'prune'."
        )


def takes_noise(sampler: comfy.samplers.Sampler) -> bool:
    return isinstance(sampler, comfy.samplers.KSAMPLER) and "noise_sampler" in inspect.signature(sampler.sampler_function).parameters


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
