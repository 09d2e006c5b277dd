"""What the generate command draws with and scores by, and how an earlier run with the same is told from another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.demo.network import LAPLACE
from ...core.last_layer.laplace import Laplace
from ...core.options import BayesDiffOptions, FreeOptions, GenerativeOptions, SamplingScore
from ...hosts.diffusers.draw import DemoDrawer, PipelineDrawer, ScoredBy, bundled_encoder
from ...hosts.diffusers.last_layer.image_encoders import clip_encoder
from ...hosts.diffusers.load import loading_bars, pipeline_kind
from ...hosts.diffusers.search.drawers import BestOfDrawer, CountingDrawer
from ..shared.checks import DEMO
from ..shared.device import check_device
from ..shared.progress import on_terminal
from .options import BY_POSTERIOR, GenerateOptions
from .search import code_of


def check_model(options: GenerateOptions) -> None:
    """Raises ValueError or OSError for a model or device that can't be used, before anything is loaded."""
    if options.model != DEMO:
        pipeline_kind(options.model, options.loading.setup())
        options.check_pipeline()
    check_device(options.device)


def load_drawer(options: GenerateOptions) -> CountingDrawer:
    drawer = load_plain_drawer(options)
    search = options.search
    if not search.searches:
        return CountingDrawer(drawer)
    return BestOfDrawer(drawer, options=search.best_of_options(), calibrations=search.stop_calibrations)


def load_plain_drawer(options: GenerateOptions) -> DemoDrawer | PipelineDrawer:
    if options.model == DEMO:
        return DemoDrawer.load([int(c) for c in options.conditions()], options.seed, options.guidance_scale, options.device)
    settings: dict[str, Any] = {"negative_prompt": options.negative, "guidance_scale": options.guidance_scale}
    settings = {name: value for name, value in settings.items() if value is not None}
    loading = options.loading
    with loading_bars(shown=on_terminal()):
        how = options.seed, settings, options.device, loading.dtype, loading.setup()
        return PipelineDrawer.load(options.model, options.requests(), *how)


def load_scorer(options: GenerateOptions) -> ScoredBy:
    laplace = load_posterior(options) if options.method in BY_POSTERIOR else None
    encode = None
    if options.method is SamplingScore.GENERATIVE:
        with loading_bars(shown=on_terminal()):
            encode = bundled_encoder if options.encoder is None else clip_encoder(options.encoder, options.device)
    return ScoredBy(options.method_options(), laplace, encode)


def load_posterior(options: GenerateOptions) -> Laplace:
    """The fit, with the prior precision and noise variance that are asked for."""
    fit = Laplace.load(options.laplace or LAPLACE)
    asked: dict[str, Any] = {"prior_precision": options.prior_precision, "noise_variance": options.noise_variance}
    return replace(fit, options=replace(fit.options, **{name: value for name, value in asked.items() if value is not None}))


def fingerprint(options: GenerateOptions) -> dict[str, Any]:
    """All that an image and its score depend on, beside its number, by the names that the command line has for it."""
    return {
        "method": options.method.value,
        "model": options.model if options.model == DEMO else Path(options.model).resolve().as_posix(),
        "class" if options.model == DEMO else "prompts": list(options.conditions()),
        "negative": options.negative,
        "guidance_scale": options.guidance_scale,
        "steps": options.steps,
        **options.search.candidate_arguments(),
        **method_arguments(options),
        "the method's defaults": repr(GenerateOptions(options.method, guidance_scale=options.guidance_scale).method_options()),
        "laplace": describe_posterior(options),
        "encoder": None if options.encoder is None else Path(options.encoder).resolve().as_posix(),
        "seed": f"{options.seed} of the images" if options.seed else 0,  # not 5, which once was of the scores too
        "device": options.device,
        **request_arguments(options),
        **options.loading.fingerprint(),
    }


def request_arguments(options: GenerateOptions) -> dict[str, Any]:
    """What single prompts say beside their words; nothing where none does, as in runs of old."""
    requests = [] if options.model == DEMO else options.requests()
    told = [[request.negative, request.seed, request.size] for request in requests]
    return {"requests": told} if any(value is not None for each in told for value in each) else {}


def method_arguments(options: GenerateOptions) -> dict[str, int]:
    method = options.method_options()
    if isinstance(method, GenerativeOptions):
        return {"members": method.members, "member_steps": method.member_steps}
    if isinstance(method, FreeOptions):
        return {}
    every = {"every": method.every} if isinstance(method, BayesDiffOptions) else {}
    return {"samples": method.draws.samples, **every}


def describe_posterior(options: GenerateOptions) -> str | None:
    if options.method not in BY_POSTERIOR:
        return None
    fit, content = load_posterior(options).options, (options.laplace or LAPLACE).read_bytes()
    return f"{code_of(content)} {fit.prior_precision:g} {fit.noise_variance:g}"
