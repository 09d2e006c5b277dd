"""WebUI host: what is measured and moved in one sampling of one batch, whichever way the web UI tells its steps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ....core.denoiser import Process
from ....core.guidance.step import MIN_ALPHA, GuidedStep, guide_step, half_safe
from ....core.options import AleatoricOptions, DrawOptions, FreeOptions, GuidanceMode
from ....core.pixelwise.aleatoric import Recorder
from ....core.pixelwise.free import FreeRecorder
from ....core.result import Uncertainty
from ....core.schedule import LateStepGate, PercentToSigma, SigmaWindow, StepGate
from ....core.search.best_of import Search
from ....core.search.free import FreeScores
from ....core.search.scoring import Scores, comparison_sigma, score_candidates
from ..settings import Settings

log = logging.getLogger(__name__)
NO_AUTOGRAD = "The mode autograd does not work with this model ({reason}). The mode forward was used instead, which needs no gradient."


class ConditionedDenoiser(Protocol):
    """The contract of ``core.denoiser``, with what an evaluation costs."""

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor: ...

    def passes(self, sigma: float) -> int:
        """Network passes behind one evaluation of one sample."""
        ...

    def draws_at_once(self, x: Tensor, samples: int) -> int:
        """How many draws of the batch x may share a call."""
        ...


class RunningSearch(Protocol):
    """A search among the images of the batch, see ``search``. blend: what a mask makes of a prediction."""

    search: Search
    blend: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class SamplerStep:
    """One evaluation of a running sampler. denoised: what it goes on with; own, without: its parts with and without the prompt.

    conditional: the denoiser that made own.  reference: makes that of the negative prompt, where it is needed.
    """

    x: Tensor
    denoised: Tensor
    own: Tensor
    without: Tensor | None
    sigma: Tensor
    conditional: ConditionedDenoiser
    reference: Callable[[], ConditionedDenoiser]
    compute_type: torch.dtype = torch.float32

    @property
    def level(self) -> float:
        return float(self.sigma.max())


class SamplingRun:
    """Whatever fails in here leaves the sampler's own prediction, and a sentence in ``problem``."""

    def __init__(
        self, settings: Settings, process: Process, resolve: PercentToSigma, is_second: bool = False, search: RunningSearch | None = None
    ) -> None:
        self.process, self.resolve, self.is_second, self.search = process, resolve, is_second, search
        self.loaded: Callable[[Tensor], AbstractContextManager[Tensor]] = nullcontext  # gives a tensor, while the model is loaded
        self.latents: Tensor | None = None  # what the latest step went on with; after the last it is what the sampler drew
        options = settings.recording()
        self.records = options == settings.measuring()
        self.recorder: Recorder | FreeRecorder = (
            FreeRecorder(options, process) if isinstance(options, FreeOptions) else Recorder(options, process)
        )
        window = options.steps if isinstance(options, FreeOptions) else options.window
        gate = StepGate if isinstance(options, FreeOptions) else LateStepGate  # what is free needs no step near its window
        self.record_gate: StepGate = gate(SigmaWindow.resolve(window, resolve))
        scorers = search.search.options.free_scorers if search is not None else ()
        self.free = FreeScores(scorers, process, resolve) if scorers else None
        self.guide = settings.guidance()
        self.guide_gate = StepGate(SigmaWindow.resolve(self.guide.window, resolve)) if self.guide else None
        self.step: SamplerStep | None = None
        self.problem = self.note = ""
        self.steps = 0
        self.level = -1.0
        self.batch = self.passes = 1
        self.nfe = 0.0
        self.gradient_checked = False

    def observe(self, step: SamplerStep) -> Tensor:
        """The prediction to go on with: ``step.denoised`` itself unless guidance moves it."""
        self.step, self.latents = step, step.denoised
        if self.problem:
            return self.latents
        try:
            self.latents = self._take(step)
        except Exception as error:  # an interruption is none, and ends the sampler
            self.problem = f"{str(error) or type(error).__name__}".splitlines()[0]
            log.warning("Uncertainty: not measured any further, the image is drawn without it: %s", self.problem, exc_info=error)
        return self.latents

    def outcome(self) -> Uncertainty:
        """What was recorded. Raises ValueError where nothing was."""
        self.recorder.nfe = self.nfe
        return self.recorder.result({"host": "webui"}).cpu()

    def count(self, rows: int) -> None:
        """For the denoisers: rows of an evaluation."""
        self.nfe += rows / self.batch * self.passes

    def _take(self, step: SamplerStep) -> Tensor:
        level, index = step.level, self.steps
        is_new = abs(level - self.level) > 1e-5 * level  # Heun and its kin come twice to a level: that is no new step
        self.steps, self.level = index + 1, level
        self.batch, self.passes = step.x.shape[0], step.conditional.passes(level)
        if self.free is not None:
            self.free.observe(step.denoised, step.own, step.without, level)
        if self.search is not None and self.search.search.due(level):
            self._compare(self.search, step)
        guided = None
        if self.guide is not None and self.guide_gate is not None and self.guide_gate.opens(level):
            guided = self._guide(step, index)
        if self.records and is_new and self.record_gate.opens(level):
            self._record(step, index)
        return step.denoised if guided is None else guided.x0

    def _compare(self, running: RunningSearch, step: SamplerStep) -> None:
        search, rows = running.search, list(running.search.rows)
        if self.free is not None:
            scores = self.free.scores()
        else:
            x0, level = running.blend(step.own), comparison_sigma(step.level, search.percent_to_sigma)
            draws = fitting(search.options.draws, step.conditional, x0)
            scores = score_candidates(step.conditional, step.reference(), x0, level, self.process, draws, search.options.scorers)
        search.select(Scores({scorer: values[rows] for scorer, values in scores.by.items()}, scores.rows), step.level)

    def _record(self, step: SamplerStep, index: int) -> None:
        if isinstance(self.recorder, FreeRecorder):
            self.recorder.observe(step.denoised, step.own, step.without, step.sigma)
            return
        options: AleatoricOptions = self.recorder.options
        self.recorder.options = replace(options, draws=fitting(options.draws, step.conditional, step.x))
        self.recorder.measure(step.conditional, step.x, step.own, step.sigma, index)

    def _guide(self, step: SamplerStep, index: int) -> GuidedStep | None:
        assert self.guide is not None
        if float(self.process.alpha(step.sigma).max()) < MIN_ALPHA:
            return None
        options = half_safe(replace(self.guide, draws=fitting(self.guide.draws, step.conditional, step.x)), step.compute_type)
        given: Any = (step.x, step.denoised, step.sigma, self.process, options, index, step.own)
        if options.mode is not GuidanceMode.AUTOGRAD:
            return guide_step(step.conditional, *given)
        try:
            from .gradient import check_gradient, differentiable

            if not self.gradient_checked:
                check_gradient(step.conditional, step.own, step.sigma, self.process, options)
                self.gradient_checked = True
            with differentiable(step.conditional) as smooth:
                return guide_step(smooth, *given)
        except (RuntimeError, ImportError) as error:  # out of memory, and web UIs without Forge's patcher
            self.note = NO_AUTOGRAD.format(reason=(str(error) or type(error).__name__).splitlines()[0].rstrip("."))
        self.guide = replace(self.guide, mode=GuidanceMode.FORWARD)
        return self._guide(step, index)


def fitting(draws: DrawOptions, denoise: ConditionedDenoiser, x: Tensor) -> DrawOptions:
    """As many draws to a call as memory allows."""
    return replace(draws, micro_batch=denoise.draws_at_once(x, draws.samples))
