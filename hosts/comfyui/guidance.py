"""ComfyUI host: a sampler node's work and a GUIDER, both with uncertainty guidance."""

from __future__ import annotations

from dataclasses import replace

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.guidance.price import draws_per_evaluation
from ...core.guidance.step import MIN_ALPHA
from ...core.options import AleatoricOptions, GuidanceOptions
from ...core.result import Uncertainty
from ...core.schedule import SigmaWindow
from .model import percent_to_sigma, process_of
from .patch import OnDraws, attach
from .sampling.ksampler import Conditioning, KSample, Latent, Progress
from .sampling.record import Record
from .sampling.trace import OnTrace
from .view.live import Live


def attach_guidance(
    model: ModelPatcher,
    options: GuidanceOptions,
    record: Record,
    on_draws: OnDraws | None = None,
    on_trace: OnTrace | None = None,
    live: Live | None = None,
) -> ModelPatcher:
    """A clone of ``model`` under guidance. What it measures lies in the default window of recording, so that strengths compare."""
    return attach(model, record, AleatoricOptions(draws=options.draws), options, on_draws, on_trace, live)


def make_guider(
    model: ModelPatcher,
    positive: Conditioning,
    negative: Conditioning,
    cfg: float,
    options: GuidanceOptions,
    record: Record,
    on_trace: OnTrace | None = None,
    live: Live | None = None,
) -> comfy.samplers.CFGGuider:
    guider = comfy.samplers.CFGGuider(attach_guidance(model, options, record, on_trace=on_trace, live=live))
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def sample_guided(
    sampling: KSample,
    options: GuidanceOptions,
    progress: Progress | None = None,
    on_trace: OnTrace | None = None,
    live: Live | None = None,
) -> tuple[Latent, Uncertainty]:
    """What KSampler does, bit for bit at strength 0, under guidance; and the uncertainty of what was made.

    progress: a bar that several runs share; one of this run alone when left out.
    Raises ValueError for what ``KSample.run`` and ``attach`` refuse.
    """
    sigmas, record = sampling.sigmas(), Record()
    progress = progress or Progress(sampling.model, len(sigmas) - 1 + count_draws(sampling.model, sigmas[:-1], options))
    guided = attach_guidance(sampling.model, options, record, progress.count, on_trace, live)
    latent = replace(sampling, model=guided).run(progress.step)
    return latent, record.of(latent["samples"])


def count_draws(model: ModelPatcher, sigmas: Tensor, options: GuidanceOptions) -> int:
    """Evaluations per image that guidance, or at strength 0 the measuring alone, adds to one evaluation at each sigma."""
    sampling = model.get_model_object("model_sampling")
    window = options.window if options.strength else AleatoricOptions().window
    active = SigmaWindow.resolve(window, percent_to_sigma(sampling)).is_active
    alphas = process_of(sampling).alpha(sigmas)
    if not options.strength:
        return options.draws.samples * max(1, sum(active(float(s)) for s in sigmas))
    return draws_per_evaluation(options) * sum(active(float(s)) and float(a) >= MIN_ALPHA for s, a in zip(sigmas, alphas, strict=True))
