"""ComfyUI host, the model's side: its noise process, and the denoiser that a run's conditioning makes of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import comfy.controlnet
import comfy.model_management
import comfy.model_sampling
import comfy.samplers
import torch
from comfy.model_base import BaseModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.denoiser import Process
from ...core.guidance.patch_memory import Memory
from ...core.schedule import PercentToSigma
from .isolation import check_repeats, kept_apart, uncompiled

Cond = list[dict[str, Any]]
SEVERAL_PARTS = "latent holds several parts of different shapes (video with sound), which can't be measured; give one with a single part."


def process_of(sampling: Any) -> Process:
    """The process of a model's ``model_sampling``, known by its class and proven on what it does to noise.

    Raises ValueError, naming the classes, for one that is not understood: a wrong alpha would be silently wrong everywhere.
    """
    kinds = comfy.model_sampling
    names = [kind.__name__ for kind in type(sampling).__mro__ if kind.__module__ != "builtins" and not kind.__module__.startswith("torch")]
    process = None
    if isinstance(sampling, kinds.CONST):
        process = Process.FLOW
    elif isinstance(sampling, (kinds.EPS, kinds.COSMOS_RFLOW)):
        process = Process.VE
    # IMG_TO_IMG models are given a clean image, not a noisy one
    if process is None or any("IMG_TO_IMG" in name for name in names) or not makes_noise_of(process, sampling):
        raise ValueError(
            f"model is of a kind that is not understood, {' / '.join(names)}: "
            "its noise is neither that of eps, v, EDM and x0 prediction nor that of flow matching. Use another model."
        )
    return process


def makes_noise_of(process: Process, sampling: Any) -> bool:
    """Whether noise_scaling is alpha * x0 + sigma * n of ``process``, tried at sigma = 0.5."""
    sigma, one, zero = torch.tensor([0.5]), torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    alpha_is = float(sampling.noise_scaling(sigma, zero.clone(), one))
    sigma_is = float(sampling.noise_scaling(sigma, one.clone(), zero))
    return abs(alpha_is - float(process.alpha(sigma))) < 1e-4 and abs(sigma_is - 0.5) < 1e-4


def percent_to_sigma(sampling: Any) -> PercentToSigma:
    """Fraction of the schedule passed -> sigma. ComfyUI says 1e9 for 0 in the models that are not flow matching."""
    return lambda percent: float(sampling.percent_to_sigma(percent))


def count_active(cond: Cond | None, sigma: float) -> int:
    """How many parts of a conditioning act at this noise level; each is a network pass."""
    return sum(float(part.get("timestep_start", inf)) >= sigma >= float(part.get("timestep_end", -inf)) for part in cond or [])


def check_active(cond: Cond, levels: Sequence[float], name: str = "positive") -> None:
    """Raises ValueError where a conditioning with time ranges says nothing: ComfyUI would predict zeros, silently."""
    for level in levels:
        if count_active(cond, level) == 0:
            raise ValueError(
                f"No part of {name} acts at noise level {level:.4g}: its time ranges leave it out. "
                "Choose start_percent and end_percent inside them."
            )


def check_latent(model: ModelPatcher, samples: Tensor) -> None:
    """Raises ValueError for an empty latent, one of several parts, and one of another kind of model."""
    if getattr(samples, "is_nested", False):
        raise ValueError(SEVERAL_PARTS)
    if not bool(torch.count_nonzero(samples)):
        raise ValueError("latent is empty: connect the output of a sampler or of VAE Encode.")
    wanted = model.get_model_object("latent_format").latent_channels
    if samples.shape[1] != wanted:
        raise ValueError(f"latent has {samples.shape[1]} channels, but the model wants {wanted}; give a latent made for this model.")


@dataclass(frozen=True)
class Conditioned:
    """A model under the conditioning of a run: the contract of ``core.denoiser``.

    cond, uncond: as a run has processed them, of batch 1 or the run's; ComfyUI tiles them to x, which is our order (M, B).
    cfg: the mix ``uncond + cfg * (cond - uncond)``, made when uncond is given. on_rows: told the rows of each evaluation.
    start: what other patches kept when the run began; None where the sampler evaluates nothing.
    """

    model: BaseModel
    cond: Cond
    options: dict[str, Any]
    uncond: Cond | None = None
    cfg: float = 1.0
    on_rows: Callable[[int], None] | None = None
    start: Memory | None = None

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        conds = [self.cond] if self.uncond is None else [self.cond, self.uncond]
        with fresh_adapters(conds), kept_apart(self.options, self.model, x.device, self.start):
            x0, *uncond = comfy.samplers.calc_cond_batch(self.model, conds, x, sigma, uncompiled(self.options))
        if self.on_rows is not None:
            self.on_rows(x.shape[0])
        return uncond[0] + (x0 - uncond[0]) * self.cfg if uncond else x0

    def check_neighbours(self, x: Tensor, sigma: Tensor) -> None:
        """Raises ValueError, naming them, for other patches that remember evaluations where they can't be kept apart."""
        other = x.flip(-1)  # not what the sampler has asked: a cache would answer that rightly
        check_repeats(self.options, lambda options: replace(self, options=options)(other, sigma))

    def passes(self, sigma: float) -> int:
        """Network passes behind one evaluation of one sample."""
        return count_active(self.cond, sigma) + count_active(self.uncond, sigma)

    def draws_at_once(self, x: Tensor, samples: int) -> int:
        """How many draws of the batch x may share a call, by ComfyUI's own rule: 1.5 times what they require must be free."""
        sizes = defaultdict(list)
        for part in self.cond:
            for name, value in part.get("model_conds", {}).items():
                sizes[name].append(value.size())
        free = comfy.model_management.get_free_memory(x.device)
        for draws in range(samples, 1, -1):
            rows = draws * x.shape[0]
            shapes = {name: [[rows, *size[1:]] for size in each] for name, each in sizes.items()}
            if self.model.memory_required([rows, *x.shape[1:]], cond_shapes=shapes) * 1.5 < free:
                return draws
        return 1


def controls_of(conds: list[Cond]) -> list[comfy.controlnet.ControlBase]:
    """Every ControlNet and adapter that the conditions hold, each once, with those chained behind it."""
    found: dict[int, comfy.controlnet.ControlBase] = {}
    for part in (part for cond in conds for part in cond):
        control = part.get("control")
        while control is not None:
            found[id(control)] = control
            control = control.previous_controlnet
    return list(found.values())


@contextmanager
def fresh_adapters(conds: list[Cond]) -> Iterator[None]:
    """A T2I adapter keeps what it made of its hint for the batch size it met first, and fails, silently, for another."""
    kept = [(c, c.cond_hint, c.control_input) for c in controls_of(conds) if isinstance(c, comfy.controlnet.T2IAdapter)]
    try:
        for adapter, _, _ in kept:
            adapter.cond_hint = adapter.control_input = None
        yield
    finally:
        for adapter, hint, made in kept:
            adapter.cond_hint, adapter.control_input = hint, made
