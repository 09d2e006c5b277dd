"""WebUI host: what is measured and moved while one of Forge's samplers runs, by a function after its CFG mix."""

from __future__ import annotations

import logging
import weakref
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...core.guidance.step import MIN_ALPHA, GuidedStep, guide_step, half_safe
from ...core.options import DrawOptions, GuidanceMode
from ...core.pixelwise.aleatoric import Recorder
from ...core.result import Uncertainty
from ...core.schedule import LateStepGate, SigmaWindow, StepGate
from .gradient import check_gradient, differentiable
from .model import CompiledDenoiser, Cond, percent_to_sigma, process_of
from .settings import Settings

log = logging.getLogger(__name__)
NO_AUTOGRAD = "The mode autograd does not work with this model ({reason}). The mode forward was used instead, which needs no gradient."


class SamplingRun:
    """One sampling of one batch. Whatever fails in here leaves the sampler's own prediction, and a sentence in ``problem``."""

    def __init__(self, settings: Settings, predictor: Any, is_second: bool = False) -> None:
        self.is_second = is_second
        self.latents: Tensor | None = None  # what the latest step went on with; after the last it is what the sampler drew
        resolve = percent_to_sigma(predictor)
        self.process = process_of(predictor)
        self.recorder = Recorder(settings.recording(), self.process)
        self.record_gate = LateStepGate(SigmaWindow.resolve(self.recorder.options.window, resolve))
        self.records = settings.recording() == settings.measuring()
        self.guide = settings.guidance()
        self.guide_gate = StepGate(SigmaWindow.resolve(self.guide.window, resolve)) if self.guide else None
        self.cond: Cond | None = None
        self.uncond: Cond | None = None
        self.problem = self.note = ""
        self.steps = 0
        self.level = -1.0
        self.batch = self.passes = 1
        self.nfe = 0.0
        self.gradient_checked = False

    def observe(self, args: dict[str, Any]) -> Tensor:
        """The prediction to go on with: ``args["denoised"]`` itself unless guidance moves it."""
        self.cond, self.uncond = args["cond"], args["uncond"]
        self.latents = args["denoised"]
        if self.problem:
            return self.latents
        try:
            self.latents = self._step(args)
        except Exception as error:  # an interruption is none, and ends the sampler
            self.problem = f"{str(error) or type(error).__name__}".splitlines()[0]
            log.warning("Uncertainty: not measured any further, the image is drawn without it: %s", self.problem, exc_info=error)
        return self.latents

    def outcome(self) -> Uncertainty:
        """What was recorded. Raises ValueError where nothing was."""
        self.recorder.nfe = self.nfe
        return self.recorder.result({"host": "webui"}).cpu()

    def _step(self, args: dict[str, Any]) -> Tensor:
        x, denoised = args["input"], args["denoised"]
        sigma = args["sigma"].float().expand(x.shape[0])
        level, index = float(sigma.max()), self.steps
        is_new = abs(level - self.level) > 1e-5 * level  # Heun and its kin come twice to a level: that is no new step
        self.steps, self.level = index + 1, level
        denoise = CompiledDenoiser(args["model"], args["cond"], args["model_options"], self._count)
        self.batch, self.passes = x.shape[0], denoise.passes(level)
        guided = None
        if self.guide is not None and self.guide_gate is not None and self.guide_gate.opens(level):
            guided = self._guide(denoise, args, sigma, index)
        if self.records and is_new and self.record_gate.opens(level):
            self._record(denoise, args, sigma, level, index)
        return denoised if guided is None else guided.x0

    def _record(self, denoise: CompiledDenoiser, args: dict[str, Any], sigma: Tensor, level: float, index: int) -> None:
        options = self.recorder.options
        self.recorder.options = replace(options, draws=fitting(options.draws, denoise, args["input"]))
        self.recorder.measure(denoise, args["input"], args["cond_denoised"], sigma, index)

    def _guide(self, denoise: CompiledDenoiser, args: dict[str, Any], sigma: Tensor, index: int) -> GuidedStep | None:
        assert self.guide is not None
        if float(self.process.alpha(sigma).max()) < MIN_ALPHA:
            return None
        compute_type = getattr(args["model"], "computation_dtype", torch.float32)
        options = half_safe(replace(self.guide, draws=fitting(self.guide.draws, denoise, args["input"])), compute_type)
        own = args["cond_denoised"]
        given = (args["input"], args["denoised"], sigma, self.process, options, index, own)
        if options.mode is not GuidanceMode.AUTOGRAD:
            return guide_step(denoise, *given)
        try:
            if not self.gradient_checked:
                check_gradient(denoise, own, sigma, self.process, options)
                self.gradient_checked = True
            with differentiable(denoise) as smooth:
                return guide_step(smooth, *given)
        except RuntimeError as error:  # out of memory among them
            self.note = NO_AUTOGRAD.format(reason=(str(error) or type(error).__name__).splitlines()[0].rstrip("."))
        self.guide = replace(self.guide, mode=GuidanceMode.FORWARD)
        return self._guide(denoise, args, sigma, index)

    def _count(self, rows: int) -> None:
        self.nfe += rows / self.batch * self.passes


def fitting(draws: DrawOptions, denoise: CompiledDenoiser, x: Tensor) -> DrawOptions:
    """As many draws to a call as memory allows."""
    return replace(draws, micro_batch=denoise.draws_at_once(x, draws.samples))


def attach(model: Any, run: SamplingRun) -> None:
    """Gives the web UI's model, until it draws the next batch, a clone of its patcher that tells ``run`` every step.

    The patched model knows the run by a weak reference: when the generation ends, however it does, what is left does nothing.
    """
    weak = weakref.ref(run)

    def post_cfg(args: dict[str, Any]) -> Tensor:
        alive = weak()
        return args["denoised"] if alive is None else alive.observe(args)

    unet = model.forge_objects.unet.clone()
    unet.set_model_sampler_post_cfg_function(post_cfg)
    model.forge_objects.unet = unet
