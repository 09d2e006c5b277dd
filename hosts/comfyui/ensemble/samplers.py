"""ComfyUI host: which samplers an ensemble can share the start of, and how each goes through its noise levels.

The second is found out by running it without a network.

Any sampler can share the start of a run among several: once it is known which evaluations belong to which step, those of the
shared steps are answered from memory. Nothing is restarted, so multi-step samplers keep their history.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import comfy.model_patcher
import comfy.samplers
import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor

SUGGESTED = ("euler", "dpmpp_2m", "heun")
TOLERANCE = 1e-3  # relative: samplers that think in logarithms come back to a level with some rounding


@dataclass(frozen=True)
class Rehearsal:
    """begins: how many evaluations are done when step i begins, and last those of the whole run, (S + 1,).

    draws_noise: the sampler adds noise, to each row its own: rows that shall get the same noise must not share a run.
    adds_hooks: the sampler asks for the parts of each prediction.
    """

    begins: tuple[int, ...]
    draws_noise: bool
    adds_hooks: bool

    @property
    def evaluations(self) -> int:
        return self.begins[-1]


@dataclass(frozen=True)
class GuiderPrediction:
    """What a guider predicts for a sample, with the parts of it that a hook behind the guidance can ask for."""

    denoised: Tensor
    cond: Tensor
    uncond: Tensor

    @classmethod
    def of(cls, args: dict[str, Any]) -> GuiderPrediction:
        """args: what ComfyUI passes to a post-CFG hook."""
        return cls(args["denoised"], args["cond_denoised"], args["uncond_denoised"])

    @classmethod
    def black(cls, x: Tensor) -> GuiderPrediction:
        return cls(torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x))

    def tiled(self, x: Tensor) -> GuiderPrediction:
        """For each of several equal groups of rows, on x's device."""
        copies = [len(x) // len(self.denoised)] + [1] * (x.ndim - 1)
        return GuiderPrediction(*(part.to(x).repeat(copies) for part in (self.denoised, self.cond, self.uncond)))

    def cpu(self) -> GuiderPrediction:
        return GuiderPrediction(self.denoised.cpu(), self.cond.cpu(), self.uncond.cpu())

    def answer(self, guider: comfy.samplers.CFGGuider, x: Tensor, sigma: Tensor, options: dict[str, Any], known: int) -> Tensor:
        """As if it had just been computed: hooks that the sampler has put behind the ``known`` first ones hear of it."""
        args = {
            "denoised": self.denoised,
            "cond": guider.conds.get("positive"),
            "uncond": guider.conds.get("negative"),
            "cond_scale": guider.cfg,
            "model": guider.inner_model,
            "uncond_denoised": self.uncond,
            "cond_denoised": self.cond,
            "sigma": sigma,
            "model_options": options,
            "input": x,
        }
        for hook in post_cfg_hooks(options)[known:]:
            args["denoised"] = hook(args)
        return args["denoised"]


def post_cfg_hooks(options: dict[str, Any]) -> list[Any]:
    return options.get("sampler_post_cfg_function", [])


class RehearsalGuider(comfy.samplers.CFGGuider):
    """A guider that predicts nothing but black, without the network, and watches."""

    def __init__(self, model: ModelPatcher, sigmas: Tensor) -> None:
        super().__init__(model)
        self.inner_model = with_model_sampling(model)
        self.conds = {"positive": [], "negative": []}
        self.run_options = comfy.model_patcher.create_model_options_clone(self.model_options)
        self.run_options.setdefault("transformer_options", {})["sample_sigmas"] = sigmas
        self.hooks = len(post_cfg_hooks(self.run_options))
        self.levels: list[float] = []
        self.draws_noise = self.adds_hooks = False

    def outer_predict_noise(
        self, x: Tensor, timestep: Tensor, model_options: dict[str, Any] | None = None, seed: int | None = None
    ) -> Tensor:
        self.levels.append(float(timestep.max()))
        self.draws_noise |= not torch.equal(x[:1], x[1:])
        self.adds_hooks |= len(post_cfg_hooks(model_options or {})) > self.hooks
        return GuiderPrediction.black(x).answer(self, x, timestep, model_options or {}, self.hooks)


def with_model_sampling(model: ModelPatcher) -> BaseModel:
    """The model with the ``model_sampling`` that a run would have, which ComfyUI puts on it only when it is loaded."""
    patched = copy.copy(model.model)
    patched._modules = {**patched._modules}  # a shallow copy of a torch module shares them, and so would put it on the model itself
    patched.model_sampling = model.get_model_object("model_sampling")
    return patched


def rehearse(
    name: str, model: ModelPatcher, sigmas: Tensor, noise: Tensor, seed: int, sampler: comfy.samplers.Sampler | None = None
) -> Rehearsal:
    """noise: (B, C, ...), of which one sample is taken. sampler: of that name where it is not ComfyUI's own.

    Raises ValueError for a sampler that doesn't go from level to level.
    """
    guider, begins = RehearsalGuider(model, sigmas), []

    def on_step(i: int, denoised: Tensor, x: Tensor, steps: int) -> None:
        if i != len(begins) or i >= len(sigmas) - 1:
            return
        level, wanted = guider.levels[-1], float(sigmas[i])
        if abs(level - wanted) <= TOLERANCE * wanted:
            begins.append(len(guider.levels) - 1)

    rows = torch.cat([noise[:1], noise[:1]]).to(sigmas.device)
    sampler = sampler or comfy.samplers.sampler_object(name)
    try:
        extra_args = {"model_options": guider.run_options, "seed": seed}
        sampler.sample(guider, sigmas.clone(), extra_args, on_step, rows, torch.zeros_like(rows), None, True)
    except Exception as error:  # samplers of other packs ask for anything, and fail in any way, where there is no model
        raise ValueError(refusal(name, f"it asks for more than a prediction ({error})")) from error
    if len(begins) != len(sigmas) - 1:
        raise ValueError(refusal(name, "it does not go from one noise level of the schedule to the next"))
    return Rehearsal((*begins, len(guider.levels)), guider.draws_noise, guider.adds_hooks)


def refusal(name: str, reason: str) -> str:
    others = " or ".join(other for other in SUGGESTED if other != name)
    return f"sampler_name {name!r} can't be branched, because {reason}. Choose another sampler, such as {others}."
