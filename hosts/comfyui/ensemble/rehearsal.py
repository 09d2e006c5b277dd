"""ComfyUI host: how a sampler goes through its noise levels, found out by running it without a network.

Any sampler can share the start of a run among several: once it is known which evaluations belong to which step, those of the
shared steps are answered from memory. Nothing is restarted, so multi-step samplers keep their history.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

TOLERANCE = 1e-3  # relative: samplers that think in logarithms come back to a level with some rounding


@dataclass(frozen=True)
class Rehearsal:
    """begins: how many evaluations are done when step i begins, and last those of the whole run, (S + 1,).

    draws_noise: the sampler adds noise, to each row its own: rows that shall get the same noise must not share a run.
    """

    begins: tuple[int, ...]
    draws_noise: bool

    @property
    def evaluations(self) -> int:
        return self.begins[-1]


@dataclass(frozen=True)
class Prediction:
    """What a guider says of a sample, and beside it what it says without the condition, which samplers named cfg_pp ask for."""

    denoised: Tensor
    uncond: Tensor

    def tiled(self, x: Tensor) -> Prediction:
        """For each of several equal groups of rows, on x's device."""
        copies = [len(x) // len(self.denoised)] + [1] * (x.ndim - 1)
        return Prediction(self.denoised.to(x).repeat(copies), self.uncond.to(x).repeat(copies))

    def cpu(self) -> Prediction:
        return Prediction(self.denoised.cpu(), self.uncond.cpu())

    def answer(self, x: Tensor, sigma: Tensor, options: dict[str, Any], known: int) -> Tensor:
        """As if it had just been computed: hooks that the sampler has put behind the ``known`` first ones hear of it."""
        args = {"denoised": self.denoised, "cond_denoised": self.denoised, "uncond_denoised": self.uncond}
        args |= {"input": x, "sigma": sigma, "model_options": options, "cond": None, "uncond": None, "cond_scale": 1.0, "model": None}
        for hook in options.get("sampler_post_cfg_function", [])[known:]:
            args["denoised"] = hook(args)
        return args["denoised"]


class Prompter:
    """In a guider's place: predicts nothing but black, and watches."""

    def __init__(self, model: ModelPatcher) -> None:
        self.model_patcher = model
        self.inner_model = SimpleNamespace(model_sampling=model.get_model_object("model_sampling"))
        self.levels: list[float] = []
        self.draws_noise = False

    def __call__(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any] | None = None, seed: int | None = None) -> Tensor:
        self.levels.append(float(sigma.max()))
        self.draws_noise |= not torch.equal(x[:1], x[1:])
        return Prediction(torch.zeros_like(x), torch.zeros_like(x)).answer(x, sigma, model_options or {}, 0)


def rehearse(name: str, model: ModelPatcher, sigmas: Tensor, noise: Tensor, seed: int) -> Rehearsal:
    """noise: (B, C, ...), of which one sample is taken. Raises ValueError for a sampler that doesn't go from level to level."""
    prompter, begins = Prompter(model), []

    def on_step(i: int, denoised: Tensor, x: Tensor, steps: int) -> None:
        if i != len(begins) or i >= len(sigmas) - 1:
            return
        level, wanted = prompter.levels[-1], float(sigmas[i])
        if abs(level - wanted) <= TOLERANCE * wanted:
            begins.append(len(prompter.levels) - 1)

    rows = torch.cat([noise[:1], noise[:1]]).to(sigmas.device)
    sampler = comfy.samplers.sampler_object(name)
    try:
        sampler.sample(prompter, sigmas.clone(), {"model_options": {}, "seed": seed}, on_step, rows, torch.zeros_like(rows), None, True)
    except Exception as error:  # samplers of other packs ask for anything, and fail in any way, where there is no model
        raise ValueError(refusal(name, f"it needs more than a prediction: {error}")) from error
    if len(begins) != len(sigmas) - 1:
        raise ValueError(refusal(name, "it does not go from one noise level of the schedule to the next"))
    return Rehearsal((*begins, len(prompter.levels)), prompter.draws_noise)


def refusal(name: str, reason: str) -> str:
    return f"sampler_name {name!r} can't be branched ({reason}); use another one, such as euler or dpmpp_2m."
