"""ComfyUI host: what a patched model measures and moves while any sampler runs it.

The state of a run lives in that run's model_options, which ComfyUI clones for each sampling. Nodes and hooks keep none.
"""

from __future__ import annotations

import copy
import logging
from bisect import bisect_left
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...core.guidance.patch_memory import Memory
from ...core.guidance.step import MIN_ALPHA, GuidedStep, guide_step, half_safe
from ...core.options import (
    DIRECTION_OF,
    DIRECTION_OF_FREE,
    AleatoricOptions,
    Direction,
    DrawOptions,
    FreeOptions,
    GuidanceMode,
    GuidanceOptions,
)
from ...core.pixelwise.aleatoric import Recorder, Spread
from ...core.pixelwise.free import FreeRecorder
from ...core.result import Uncertainty, clock, pool
from ...core.schedule import SigmaWindow, StepGate
from .isolation import remember
from .model import SEVERAL_PARTS, Conditioned, count_active, percent_to_sigma, process_of
from .sampling.fingerprint import describe_model
from .sampling.gradient import check_gradient, differentiable
from .sampling.record import Record
from .sampling.trace import OnTrace, Trace
from .view.live import Live, LiveRun

log = logging.getLogger(__name__)
OnDraws = Callable[[int], None]  # told how many draws have just been evaluated
NO_AUTOGRAD = "mode 'autograd' does not work with this {model} ({reason}). Going on in mode 'forward', which needs no gradient."


@dataclass(frozen=True)
class Step:
    """One evaluation of a running sampler, as ComfyUI tells it after its CFG mix. without: the unconditional part; None at CFG 1."""

    x: Tensor
    denoised: Tensor
    own: Tensor
    without: Tensor | None
    sigma: Tensor
    level: float
    index: int
    conditioned: Conditioned

    @classmethod
    def of(cls, args: dict[str, Any], index: int, on_rows: Callable[[int], None], start: Memory | None) -> Step:
        """Raises ValueError for guiders that keep their conditioning to themselves."""
        if args.get("cond") is None:
            raise ValueError(
                "The guider of this sampler does not tell its conditioning, without which nothing can be measured; use another."
            )
        conditioned = Conditioned(args["model"], args["cond"], args["model_options"], on_rows=on_rows, start=start)
        sigma = args["sigma"].float().expand(args["input"].shape[0])
        level = float(sigma.max())
        without = args["uncond_denoised"] if count_active(args["uncond"], level) else None
        return cls(args["input"], args["denoised"], args["cond_denoised"], without, sigma, level, index, conditioned)

    def fitting(self, draws: DrawOptions) -> DrawOptions:
        """As many draws to a call as memory allows."""
        return replace(draws, micro_batch=self.conditioned.draws_at_once(self.x, draws.samples))

    @property
    def compute_type(self) -> torch.dtype:
        """What the network computes in, whatever its weights are kept in."""
        return self.conditioned.model.manual_cast_dtype or self.conditioned.model.get_dtype()


class Run:
    """State of one sampling run."""

    def __init__(
        self, sampling: Any, record: AleatoricOptions | FreeOptions, guide: GuidanceOptions | None, on_draws: OnDraws | None = None
    ) -> None:
        resolve = percent_to_sigma(sampling)
        self.process = process_of(sampling)
        is_free = isinstance(record, FreeOptions)
        self.recorder: Recorder | FreeRecorder = FreeRecorder(record, self.process) if is_free else Recorder(record, self.process)
        self.record_gate = StepGate(SigmaWindow.resolve(record.steps if is_free else record.window, resolve))
        self.guide = guide if guide is not None and guide.strength != 0 else None
        self.guide_gate = StepGate(SigmaWindow.resolve(guide.window, resolve)) if guide is not None else None
        self.on_draws = on_draws
        self.trace = Trace(sampling) if guide is not None else None
        self.sampling: dict[str, str] = {}
        self.live: LiveRun | None = None
        self.levels: list[float] = []  # of the schedule, negative, ascending
        self.start: Memory | None = None  # what other patches kept before the first step
        self.image: Tensor | None = None  # what the mask keeps, in the model's scale
        self.mask: Tensor | None = None
        self.neighbours_checked = False
        self.refusal = ""
        self.evaluations = 0
        self.level = -1.0
        self.batch = self.passes = 1
        self.nfe = 0.0
        self.gradient_checked = False
        self.records = True

    def observe(self, args: dict[str, Any]) -> Tensor:
        """The prediction to go on with: ``args["denoised"]`` itself unless guidance moves it."""
        step = Step.of(args, self.evaluations, self._count, self.start)
        self.batch, self.passes = step.x.shape[0], step.conditioned.passes(step.level)
        self.evaluations += 1
        # Heun and its kin come twice to a level: that is no new step
        is_new = abs(step.level - self.level) > 1e-5 * step.level
        self.level = step.level
        guides = self.guide is not None and self.guide_gate.opens(step.level)
        records = self.records and is_new and self.record_gate.opens(step.level)
        measures = guides or (records and isinstance(self.recorder, Recorder))
        if measures and not self.neighbours_checked:
            step.conditioned.check_neighbours(step.x, step.sigma)
            self.neighbours_checked = True
        guided = None
        if guides:
            start = clock(step.x)
            guided = self._guide(step)
            self.recorder.seconds += clock(step.x) - start
        spread = None if guided is None else guided.spread
        scores = None
        if records:
            scores = self._record(step, spread)
        elif is_new and spread is not None:
            scores = self._pooled(spread)  # outside of what is recorded, but measured all the same
        if self.trace is not None and self.records:
            self.trace.add(args, step.level, self.passes, spread)
        if self.live is not None and scores is not None:
            self.live.add(self.place(step.level), step.level, scores)
        return step.denoised if guided is None else guided.x0

    def for_candidate(self, seed: int, evaluations: int) -> Run:
        """The same for one candidate of a search, of which ``evaluations`` are known: guided as if it were alone, and not recorded."""
        run = copy.copy(self)
        run.evaluations, run.level, run.records = evaluations, -1.0, False
        run.neighbours_checked, run.live = True, None  # checked by the search, which has its own to tell
        if run.guide is not None:
            run.guide = replace(run.guide, draws=replace(run.guide.draws, seed=seed))
            run.guide_gate = StepGate(run.guide_gate.window)
        return run

    def outcome(self, model: dict[str, str]) -> Uncertainty | str:
        """The result, or the sentence that says why there is none. model: what is told of it."""
        if self.refusal:
            return self.refusal
        self.recorder.nfe = self.nfe
        provenance = {"host": "comfyui", **model, **self.sampling}
        if self.guide is not None:
            provenance["guidance"] = f"{self.guide.mode.value}, strength {self.guide.strength:g} {self.guide.units.value}"
        try:
            return self.recorder.result(provenance).cpu()
        except ValueError as error:
            return str(error)

    def _record(self, step: Step, spread: Spread | None) -> Tensor | None:
        """The score of each image at this step, where there is one. spread: what guidance has measured, at no further cost."""
        if isinstance(self.recorder, FreeRecorder):
            seen = len(self.recorder.curve)
            without = None if step.without is None else self._with_mask(step.without)
            self.recorder.observe(self._with_mask(step.denoised), self._with_mask(step.own), without, step.sigma)
            return self.recorder.curve[-1] if len(self.recorder.curve) > seen else None
        if spread is not None:
            self.recorder.add(spread, step.level, 0.0, 0.0)
            return self._pooled(spread)
        options = self.recorder.options
        self.recorder.options = replace(options, draws=step.fitting(options.draws))
        return self._pooled(self.recorder.measure(step.conditioned, step.x, step.own, step.sigma, step.index))

    def _with_mask(self, x0: Tensor) -> Tensor:
        """The prediction as the sampler gets it: where the mask keeps the image, nothing moves."""
        return x0 if self.mask is None or self.image is None else torch.lerp(self.image.to(x0), x0, self.mask.to(x0))

    def _pooled(self, spread: Spread) -> Tensor:
        return pool(spread[self.recorder.options.quantity], self.recorder.options.pooling)

    @property
    def direction(self) -> Direction:
        options = self.recorder.options
        return DIRECTION_OF_FREE[options.score] if isinstance(options, FreeOptions) else DIRECTION_OF[options.quantity]

    def place(self, level: float) -> int:
        """Which step of the schedule this noise level belongs to, from 0."""
        return bisect_left(self.levels, -level * (1 + 1e-5))

    def _guide(self, step: Step) -> GuidedStep:
        options = half_safe(replace(self.guide, draws=step.fitting(self.guide.draws)), step.compute_type)
        given = (step.x, step.denoised, step.sigma, self.process, options, step.index, step.own)
        is_pure_noise = float(self.process.alpha(step.sigma).max()) < MIN_ALPHA
        if options.mode is not GuidanceMode.AUTOGRAD or is_pure_noise:
            return guide_step(step.conditioned, *given)
        try:
            if not self.gradient_checked:
                check_gradient(step.conditioned, step.own, step.sigma, self.process, options)
                self.gradient_checked = True
            with differentiable(step.conditioned) as conditioned:
                return guide_step(conditioned, *given)
        except RuntimeError as error:  # out of memory among them
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            log.warning("Uncertainty guidance: %s", NO_AUTOGRAD.format(model=type(step.conditioned.model).__name__, reason=reason))
        self.guide = replace(self.guide, mode=GuidanceMode.FORWARD)
        return self._guide(step)

    def _count(self, rows: int) -> None:
        self.nfe += rows / self.batch * self.passes
        if self.on_draws is not None:
            self.on_draws(rows // self.batch)


def attach(
    model: ModelPatcher,
    record: Record,
    options: AleatoricOptions | FreeOptions,
    guide: GuidanceOptions | None = None,
    on_draws: OnDraws | None = None,
    on_trace: OnTrace | None = None,
    live: Live | None = None,
) -> ModelPatcher:
    """A clone of ``model`` that measures, and guides, in every run of any sampler; each run's result goes to ``record``.

    on_trace: told at the end of each run with guidance what it did. live: is told the scores of each step as they are measured.

    The draws of guidance are seeded by the run's own seed, and what it measures by the way is recorded.
    Raises ValueError for a model whose process is not understood, or, in a run, a latent of several parts.
    """
    process_of(model.get_model_object("model_sampling"))  # refuse before anything is sampled
    key = f"uncertainty_{id(record)}"

    def outer_sample(executor: Any, *args: Any, **kwargs: Any) -> Tensor:
        if len(kwargs.get("latent_shapes") or ()) > 1:
            raise ValueError(SEVERAL_PARTS)
        guider = executor.class_obj
        run = Run(guider.model_patcher.get_model_object("model_sampling"), *seeded(options, guide, args, kwargs), on_draws)
        if guide is not None:
            run.record_gate = StepGate(run.record_gate.window.reaching(args[3].tolist()))
        run.sampling = describe_sampling(guider, args[2], args[3])
        run.levels = [-level for level in args[3].tolist()]
        guider.model_options[key] = run
        try:
            with followed(live, run) as run.live:
                samples = executor(*args, **kwargs)
        finally:
            guider.model_options.pop(key, None)
        if run.evaluations:  # none: an Uncertainty Estimator, not a sampler
            record.keep(samples, run.outcome(describe_model(guider.model_patcher)))
            if on_trace is not None and run.trace is not None:
                on_trace(run.trace)
        return samples

    def sample(
        executor: Any,
        guider: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        run = extra_args["model_options"].get(key)
        if run is not None:
            run.start = remember(extra_args["model_options"], guider.inner_model)
            run.image, run.mask = latent_image, denoise_mask
        return executor(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar)

    def post_cfg(args: dict[str, Any]) -> Tensor:
        run = args["model_options"].get(key)
        return args["denoised"] if run is None else run.observe(args)

    patched = model.clone()
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, key, outer_sample)
    patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, key, sample)
    patched.set_model_sampler_post_cfg_function(post_cfg)
    return patched


def followed(live: Live | None, run: Run) -> AbstractContextManager[LiveRun | None]:
    if live is None:
        return nullcontext()
    windows = [run.record_gate.window, *([run.guide_gate.window] if run.guide is not None else [])]
    places = [i for i, level in enumerate(run.levels) if any(window.is_active(-level) for window in windows)]
    return live.follow(len(run.levels) - 1, "step", run.direction, span=(min(places), max(places)) if places else None)


def describe_sampling(guider: Any, sampler: Any, sigmas: Tensor) -> dict[str, str]:
    """What scores depend on, in words; a sampler by the name of its function, which is the one in KSampler's list but for a few."""
    name = getattr(getattr(sampler, "sampler_function", sampler), "__name__", type(sampler).__name__).removeprefix("sample_")
    cfg = getattr(guider, "cfg", None)
    return {"sampler": name, "steps": str(len(sigmas) - 1)} | ({} if cfg is None else {"cfg": f"{cfg:g}"})


def seeded(
    options: AleatoricOptions | FreeOptions, guide: GuidanceOptions | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[AleatoricOptions | FreeOptions, GuidanceOptions | None]:
    """Under guidance both take the seed of the sampling itself; a recorder alone has one of its own."""
    if guide is None or isinstance(options, FreeOptions):
        return options, None
    seed = args[7] if len(args) > 7 else kwargs.get("seed")
    draws = replace(guide.draws, seed=int(seed or 0))
    return replace(options, draws=draws), replace(guide, draws=draws)
