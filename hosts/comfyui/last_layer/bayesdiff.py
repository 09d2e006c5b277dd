"""ComfyUI host: BayesDiff along a run of KSampler.

ComfyUI's samplers know one thing of a model, d = (x - denoised) / sigma, whatever its kind, and step as if alpha were 1. So does
this file: in VE coordinates d is the noise, and x' is linear in x and d, of flow models too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import comfy.samplers
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ....core.denoiser import Prediction, Process
from ....core.guidance.inference_weights import normal
from ....core.guidance.patch_memory import Memory
from ....core.last_layer.bayesdiff import Propagation
from ....core.last_layer.laplace import Laplace, LayerPosterior
from ....core.last_layer.linear_steps import LinearStep, ddim_step, dpmpp_2m_step
from ....core.options import BayesDiffOptions
from ....core.result import Uncertainty
from ..isolation import remember
from ..model import SEVERAL_PARTS, Cond, Conditioned, count_active, process_of
from ..sampling.fingerprint import describe_model
from ..sampling.ksampler import KSample, Latent, Progress
from .laplace import REGIONAL, posterior_of
from .network_output import affine, own_output

log = logging.getLogger(__name__)
SAMPLERS = ("euler", "ddim", "dpmpp_2m")  # deterministic, one evaluation a step
COORDINATES = Process.VE, Prediction.EPS


@dataclass
class VarianceRun:
    """State of one sampling run.

    sigmas: (S + 1) its noise levels.  mask: the part that is repainted.
    """

    posterior: LayerPosterior
    sampler: str
    sigmas: list[float]
    propagation: Propagation
    on_draws: Callable[[int], None]
    memory: Memory
    mask: Tensor | None = None

    def observe(self, args: dict[str, Any]) -> None:
        """Carry the variance over the step that the sampler is about to take."""
        x, sigma = args["input"], args["sigma"].float().expand(len(args["input"]))
        step, level, conditioned = len(self.propagation.sigmas), float(sigma.max()), self.conditioned(args)
        if self.mask is None:  # what is repainted comes from the host, not from the step
            self.propagation.check(x)
        linear = self.linear(step)
        self.propagation.options = replace(self.propagation.options, draws=self.fitting(conditioned, x))
        variance = partial(self.output_variance, conditioned, x, sigma, level)
        self.propagation.advance(conditioned, x, sigma, linear, variance, conditioned.passes(level), self.mask)
        self.propagation.expect(x, (x - args["denoised"]) / level, sigma, linear)

    def conditioned(self, args: dict[str, Any]) -> Conditioned:
        """What the sampler asks for: positive alone, or the CFG mix."""
        if args.get("cond") is None:
            raise ValueError("The guider of this sampler does not tell its conditioning, without which nothing can be measured.")
        batch, scale = len(args["input"]), float(args["cond_scale"])
        run = (args["model"], args["cond"], args["model_options"], args.get("uncond"), scale)
        conditioned = Conditioned(*run, lambda rows: self.on_draws(rows // batch), self.memory)
        if not self.propagation.sigmas:
            conditioned.check_neighbours(args["input"], args["sigma"])
        return conditioned

    def fitting(self, conditioned: Conditioned, x: Tensor) -> Any:
        draws = self.propagation.options.draws
        return replace(draws, micro_batch=conditioned.draws_at_once(x, draws.samples))

    def linear(self, step: int) -> LinearStep:
        level, after = self.sigmas[step : step + 2]
        if self.sampler != "dpmpp_2m":
            return ddim_step(level, after, *COORDINATES)
        return dpmpp_2m_step(level, after, self.sigmas[step - 1] if step else None, *COORDINATES)

    def output_variance(self, conditioned: Conditioned, x: Tensor, sigma: Tensor, level: float) -> Tensor:
        """Var[d] over the weights: of one pass, or of the CFG mix of two, which share their weights."""
        conds = {"positive": conditioned.cond} | ({} if conditioned.uncond is None else {"negative": conditioned.uncond})
        for name, cond in conds.items():
            check_whole(cond, name, level)
        sampling = conditioned.model.model_sampling
        single = [replace(conditioned, cond=normal(cond), uncond=None) for cond in conds.values()]
        calls = [lambda one=one: own_output(one, sampling, x, sigma) for one in single]
        weights = [conditioned.cfg, 1 - conditioned.cfg] if len(calls) == 2 else [1.0]
        _, variance = self.posterior.predict_mix(calls, weights)
        self.propagation.nfe += len(calls)
        return variance * (affine(sampling, sigma, x)[1] / level).square()


def check_sampler(name: str) -> None:
    """Raises ValueError for a sampler whose steps are not known to be linear."""
    if name not in SAMPLERS:
        raise ValueError(f"sampler_name must be one of {', '.join(SAMPLERS)} for BayesDiff, got {name!r}.")


def check_whole(cond: Cond, name: str, level: float) -> None:
    """Raises ValueError for a conditioning that is not one network pass over the whole image at this noise level."""
    parts = [part for part in cond if count_active([part], level)]
    regional = [key for key in REGIONAL if any(part.get(key) is not None for part in parts)]
    if len(parts) != 1 or regional:
        seen = " and ".join(regional) or f"{len(parts)} parts"
        raise ValueError(f"{name} must be one prompt for the whole image at each step for BayesDiff, got {seen}; connect a plain prompt.")


def sample_bayesdiff(sampling: KSample, laplace: Laplace, options: BayesDiffOptions) -> tuple[Latent, Uncertainty]:
    """What KSampler draws, bit for bit, and the variance that the last layer's weights leave in it, pixel by pixel.

    Cost: on each uncertain step one evaluation, and on all of them but the first options.draws.samples more; twice that with CFG.
    Raises ValueError for other samplers than SAMPLERS, a Laplace fit of another model, a latent of several parts, and a prompt in parts.
    """
    model = sampling.model
    process = process_of(model.get_model_object("model_sampling"))
    check_sampler(sampling.sampler_name)
    if getattr(sampling.latent["samples"], "is_nested", False):
        raise ValueError(SEVERAL_PARTS)
    steps = len(sampling.sigmas()) - 1
    calls = count_calls(steps, options)
    log.info("BayesDiff: %d further model calls per image in %d steps, twice that with cfg above 1.", calls, steps)
    progress, runs, key = Progress(model, steps + calls), [], f"uncertainty_bayesdiff_{id(sampling)}"

    def sample(executor: Any, guider: comfy.samplers.CFGGuider, sigmas: Tensor, extra_args: dict[str, Any], *args: Any) -> Tensor:
        mask = args[3] if len(args) > 3 else None
        propagation = Propagation(options, *COORDINATES)
        memory = remember(extra_args["model_options"], guider.inner_model)
        run = VarianceRun(posterior_of(laplace, guider), sampling.sampler_name, sigmas.tolist(), propagation, progress.count, memory, mask)
        extra_args["model_options"][key] = run
        samples = executor(guider, sigmas, extra_args, *args)
        runs.append(run)
        return samples

    def post_cfg(args: dict[str, Any]) -> Tensor:
        args["model_options"][key].observe(args)
        return args["denoised"]

    watched = model.clone()
    watched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, key, sample)
    watched.set_model_sampler_post_cfg_function(post_cfg)
    latent = replace(sampling, model=watched).run(progress.step)
    said = {"host": "comfyui", **describe_model(model), "sampler": sampling.sampler_name, "process": process.value}
    said |= {"layer": laplace.identity.name, "training_samples": str(laplace.samples)}
    said |= {"prior_precision": f"{laplace.options.prior_precision:g}", "prediction": "d = (x - denoised) / sigma"}
    return latent, runs[0].propagation.result(said).cpu()


def count_calls(steps: int, options: BayesDiffOptions) -> int:
    """Evaluations per image beyond the sampler's own."""
    uncertain = -(-steps // options.every)
    return uncertain + (uncertain - 1) * options.draws.samples
