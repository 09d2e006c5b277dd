"""WebUI host: Forge tells its steps by a function after its CFG mix, on a clone of the model's patcher."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ....core.guidance.patch_memory import Memory
from ....core.options import PipelineScore
from ..job import Job
from .conditions import model_loaded, reference_of
from .ensemble import Ensemble, prepare, record
from .isolation import remember
from .model import CompiledDenoiser, percent_to_sigma, process_of
from .run import SamplerStep, SamplingRun
from .search import BatchSearch, start_search, wrap


def start(p: Any, job: Job, is_second: bool, is_meant: bool, drawn: dict[str, Any]) -> None:
    """Before a sampling. is_meant: it is measured and steered; in any case no image is drawn on that has ended in an earlier one."""
    unet = p.sd_model.forge_objects.unet
    if is_meant:
        if job.settings.best and job.search is None:
            try:
                job.search = start_search(p, job.settings, len(job.keys))
            except ValueError as error:
                job.note(f"{error} Every image was finished.")
        predictor = unet.model.predictor
        if job.settings.score is PipelineScore.ENSEMBLE:
            job.ensemble = prepare(p, job, percent_to_sigma(predictor), drawn)
        job.current = SamplingRun(job.settings, process_of(predictor), percent_to_sigma(predictor), is_second, job.search)
        job.current.loaded = partial(model_loaded, unet)
    if job.current is not None or job.search is not None:
        attach(p, job.current, job.search, job.ensemble)


def attach(p: Any, run: SamplingRun | None, search: BatchSearch | None = None, ensemble: Ensemble | None = None) -> None:
    """Gives the web UI's model, until it draws the next batch, a clone of its patcher that tells ``run`` every step.

    The patched model knows run and search by weak references: when the generation ends, however it does, what is left does nothing.
    """
    unet = p.sd_model.forge_objects.unet.clone()
    if search is not None:
        wrap(unet, search)
    if ensemble is not None:
        record(unet, ensemble.tape)
    if run is not None:
        unet.set_model_sampler_post_cfg_function(teller(weakref.ref(run), weakref.ref(p), remember(unet.model_options, unet.model)))
    p.sd_model.forge_objects.unet = unet


def teller(run: weakref.ref[SamplingRun], p: weakref.ref[Any], start: Memory) -> Any:
    """start: what other people's patches keep before the first step."""

    def post_cfg(args: dict[str, Any]) -> Tensor:
        alive = run()
        return args["denoised"] if alive is None else alive.observe(step_of(args, alive, p, start))

    return post_cfg


def step_of(args: dict[str, Any], run: SamplingRun, p: weakref.ref[Any], start: Memory) -> SamplerStep:
    x, without = args["input"], args["uncond_denoised"]
    conditional = CompiledDenoiser(args["model"], args["cond"], args["model_options"], run.count, start)
    return SamplerStep(
        x,
        args["denoised"],
        args["cond_denoised"],
        without if args["uncond"] and bool(without.any()) else None,  # at CFG 1 it was not asked for, and is zero
        args["sigma"].float().expand(x.shape[0]),
        conditional,
        lambda: reference_of(p(), conditional, args["uncond"], run.is_second),
        getattr(args["model"], "computation_dtype", torch.float32),
    )
