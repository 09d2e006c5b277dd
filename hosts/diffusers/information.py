"""diffusers host: prompt information of finished latents under a class- or text-conditional network, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from accelerate.utils import align_module_device
from diffusers import SchedulerMixin
from torch import Tensor, nn

from ...core.denoiser import Denoiser, Process
from ...core.options import InformationOptions
from ...core.pixelwise import information as core
from ...core.pixelwise.information import ConditionPosterior, Information
from ...core.pixelwise.quadrature import Quadrature, window_quadrature
from ...core.selection.fingerprint import fingerprint_of
from .attach import denoiser
from .call import UNBATCHED, original
from .memory import fit_draws
from .repeatable import check_repeatable
from .space import Space

Cond = dict[str, Any]  # the network's inputs beside latent and timestep, by name, with the latents' batch
DISTILLED = "The model is guidance-distilled: it never learned to predict without a condition, so take its information as a rough guide."


@torch.no_grad()
def information(
    network: nn.Module, scheduler: SchedulerMixin, latents: Tensor, cond: Cond, empty: Cond, options: InformationOptions | None = None
) -> Information:
    """How much of ``cond`` finished latents (B, C, ...) carry, in nats; low = bad. NFE: 2 x samples x levels.

    cond, empty: the network's other inputs with the condition and with the one that stands for none, both of the latents' batch:
    {"class_labels": ...}, or {"encoder_hidden_states": ...} of the prompt and of "".
    Raises ValueError for a condition that is missing or of another batch, and a network or scheduler that is not understood.
    """
    conditional, unconditional = _denoisers(network, scheduler, [cond, empty], latents)
    info = core.estimate_information(conditional, unconditional, latents, *_settings(scheduler, latents, options))
    return _described(network, scheduler, info)


@torch.no_grad()
def classify(
    network: nn.Module,
    scheduler: SchedulerMixin,
    latents: Tensor,
    conds: Sequence[Cond],
    empty: Cond,
    options: InformationOptions | None = None,
    log_prior: Sequence[float] | None = None,
) -> ConditionPosterior:
    """Which of ``conds`` latents (B, C, ...) are, as probabilities (B, K): a classifier that nobody trained.

    NFE: (K + 1) x samples x levels. Raises as ``information`` does, and for no condition or a prior that does not fit.
    """
    unconditional, *conditionals = _denoisers(network, scheduler, [empty, *conds], latents)
    info = core.condition_posterior(conditionals, unconditional, latents, *_settings(scheduler, latents, options), log_prior)
    return replace(info, information=[_described(network, scheduler, i) for i in info.information])


@torch.no_grad()
def checklist(
    network: nn.Module,
    scheduler: SchedulerMixin,
    latents: Tensor,
    whole: Cond,
    without: Sequence[Cond],
    options: InformationOptions | None = None,
) -> list[Information]:
    """What each part of a condition adds given the rest; without[k]: the inputs without part k. NFE: (K + 1) x samples x levels."""
    full, *rest = _denoisers(network, scheduler, [whole, *without], latents)
    info = core.part_information(full, rest, latents, *_settings(scheduler, latents, options))
    return [_described(network, scheduler, i, has_empty=False) for i in info]


def each_class(classes: int, no_class: int, latents: Tensor) -> tuple[list[Cond], Cond]:
    """For ``classify``: the condition of every class 0 .. classes - 1, and that of none, for networks that are given class labels."""
    *every, none = ({"class_labels": torch.full((len(latents),), label, device=latents.device)} for label in [*range(classes), no_class])
    return every, none


def _settings(
    scheduler: SchedulerMixin, latents: Tensor, options: InformationOptions | None
) -> tuple[Quadrature, Process, InformationOptions]:
    """At which levels, of which process, and with how many draws to a call latents (B, C, ...) are compared."""
    options, space = options or InformationOptions(), Space.of(scheduler)
    options = replace(options, draws=fit_draws(options.draws, latents))
    return window_quadrature(options, space.percent_to_sigma, space.process), space.process, options


def _denoisers(network: nn.Module, scheduler: SchedulerMixin, conds: Sequence[Cond], latents: Tensor) -> list[Denoiser]:
    check_repeatable(network)
    for cond in conds:
        if not cond:
            raise ValueError(f"There is no condition in {cond!r}: give the network's inputs by name, such as class_labels.")
        sizes = {name: len(v) for name, v in cond.items() if torch.is_tensor(v) and v.ndim and name not in UNBATCHED}
        if wrong := {name: size for name, size in sizes.items() if size != len(latents)}:
            raise ValueError(f"Each condition needs one row for each of {len(latents)} latents, got {wrong}.")
    return [denoiser(network, scheduler, cond, len(latents)) for cond in conds]


def describe_model(network: nn.Module) -> dict[str, str]:
    """Its class, and the fingerprint of its weights; the same while it is compiled."""
    network = original(network)
    weights = fingerprint_of(network, align_module_device)  # sequential offload keeps them elsewhere
    return {"host": "diffusers", "model": type(network).__name__, "weights": weights}


def _described(network: nn.Module, scheduler: SchedulerMixin, info: Information, has_empty: bool = True) -> Information:
    provenance = {"scheduler": type(scheduler).__name__, **describe_model(network)}
    if has_empty and getattr(network, "config", {}).get("guidance_embeds"):
        provenance["caution"] = DISTILLED
    return replace(info, result=replace(info.result, provenance=info.result.provenance | provenance))
