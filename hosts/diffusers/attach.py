"""diffusers host: watch and guide any pipeline through a forward hook on its denoising network.

with attach(pipe, record=AleatoricOptions()) as run:
    images = pipe("a cat", num_inference_steps=30).images
uncertainty = run.result()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor, nn

from ...core.denoiser import Denoiser, output_shift
from ...core.guidance.step import guide_step, half_safe
from ...core.options import AleatoricOptions, Center, FreeOptions, FreeScore, GuidanceOptions, Quantity
from ...core.pixelwise.aleatoric import Recorder, estimate_aleatoric
from ...core.pixelwise.free import FreeRecorder
from ...core.result import Uncertainty
from ...core.schedule import StepGate, levels
from .call import Call, input_name, original, signature_of
from .memory import fit_draws
from .repeatable import check_repeatable
from .space import Space
from .watch import Watch, is_copy, watching

ZERO_TO_ONE = ("Flux", "Chroma", "QwenImage", "LongCatImage", "OvisImage", "AuraFlow")  # networks that are given t / 1000


@dataclass
class AttachedRun(Watch):
    """State and outcome of one sampling.

    guidance_nfe: evaluations per image that guidance added.  scale: of classifier-free guidance, where it is known.
    first_half: a step's sample and prediction, where its other half may come in a call of its own.
    """

    record: AleatoricOptions | FreeOptions | None = None
    guide: GuidanceOptions | None = None
    recorder: Recorder | FreeRecorder | None = None
    scale: Callable[[], float | None] = field(default=lambda: None, repr=False)
    first_half: tuple[Tensor, Tensor] | None = field(default=None, repr=False)
    guidance_nfe: float = 0.0
    correction: Tensor | None = field(default=None, repr=False)
    record_gate: StepGate | None = field(default=None, repr=False)
    guide_gate: StepGate | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.record, FreeOptions):
            self.recorder = FreeRecorder(self.record, self.space.process)
        elif self.record is not None:
            self.recorder = Recorder(self.record, self.space.process)

    def result(self, quantity: Quantity | None = None) -> Uncertainty:
        """What was recorded, in either quantity. Raises ValueError when nothing was asked for, or no step was taken."""
        provenance = {"host": "diffusers", "scheduler": type(self.space.scheduler).__name__}
        if self.recorder is None:
            raise ValueError("Nothing was recorded: pass record=AleatoricOptions(...) or FreeOptions(...) to attach().")
        if isinstance(self.recorder, Recorder):
            return self.recorder.result(provenance, quantity)
        if quantity is not None:
            raise ValueError(f"No draws were recorded, of which to give {quantity.value}: pass record=AleatoricOptions(...) to attach().")
        return self.recorder.result(provenance)

    @torch.no_grad()
    def observe(self, call: Call, output: Tensor, sigma: float) -> None:
        """Measure and guide one step on the conditional rows; leaves the correction of eps, if any."""
        part, whole = self.conditional(call.x), call
        call = call.rows(part)
        x, level = call.x.float(), torch.full(call.x.shape[:1], sigma, device=call.x.device)
        x0 = call.x0(output[part], x, level)
        record, guide = self._due(sigma)
        self.correction = self.first_half = None
        if isinstance(record, FreeOptions) and isinstance(self.recorder, FreeRecorder):
            self._record_free(self.recorder, whole, output, part, x0, level)
        recorder = self.recorder if isinstance(self.recorder, Recorder) else None
        record = record if isinstance(record, AleatoricOptions) else None
        if guide is not None and guide.strength != 0:
            guided = guide_step(call.denoise, x, x0, level, self.space.process, adapt(guide, call.x), self.step)
            self.guidance_nfe += guided.nfe
            if guided.spread is not None:  # else nothing can be moved at this level
                self.correction = guided.correction
                if record is not None and recorder is not None and record.center is Center.MEAN and record.draws == guide.draws:
                    recorder.add(guided.spread, sigma, 0.0, 0.0)  # the guidance's own draws cost nothing further
                    record = None
        if record is not None and recorder is not None:
            recorder.options = replace(record, draws=fit_draws(record.draws, call.x))
            recorder.measure(call.denoise, x, x0, level, self.step)

    def _record_free(self, recorder: FreeRecorder, call: Call, output: Tensor, part: slice, given: Tensor, level: Tensor) -> None:
        """given, level: of the conditional rows ``part``. Where a call holds no other half, a call of its own may bring it.

        The trajectory is that of the prediction that the sampler follows; where guidance asks in two calls, of the conditional one.
        Raises ValueError for the trajectory under guidance of an unknown scale.
        """
        without, scale = unconditional_part(call, output, part, level), self.scale()
        if without is None and recorder.options.score is FreeScore.CONDITION_GAP:
            self.first_half = call.x, given
        if without is not None and scale is None and recorder.options.score is FreeScore.TRAJECTORY:
            raise ValueError("The trajectory is that of both halves of classifier-free guidance mixed: pass guidance_scale to attach().")
        recorder.observe(mix(given, without, scale), given, without, level)

    @torch.no_grad()
    def observe_again(self, call: Call, output: Tensor, sigma: float) -> None:
        """True classifier-free guidance asks twice for one sample (Flux); which of the two is conditional, the gap need not know."""
        recorder = self.recorder
        if not isinstance(recorder, FreeRecorder) or self.first_half is None or not is_copy(self.first_half[0], call.x):
            return
        level = torch.full(call.x.shape[:1], sigma, device=call.x.device)
        given, without = self.first_half[1], call.x0(output, call.x, level)
        recorder.observe(given, given, without, level)
        self.first_half = None

    def _due(self, sigma: float) -> tuple[AleatoricOptions | FreeOptions | None, GuidanceOptions | None]:
        """By what to record and to guide at this step; None: not at this one."""
        if self.record is not None and self.record_gate is None:
            window = self.record.steps if isinstance(self.record, FreeOptions) else self.record.window
            self.record_gate = self.reaching_gate(window)
        if self.guide is not None and self.guide_gate is None:
            self.guide_gate = self.gate(self.guide.window)
        recording, guiding = (gate is not None and gate.opens(sigma) for gate in (self.record_gate, self.guide_gate))
        return self.record if recording else None, self.guide if guiding else None

    def moved(self, output: Any, sigma: float) -> Any:
        """The network's output with eps moved by the correction; under CFG in both halves, so that their mix moves by just as much."""
        if self.correction is None:
            return None
        moved = output[0].clone()
        correction = self.correction.repeat(moved.shape[0] // self.correction.shape[0], *[1] * (self.correction.ndim - 1))
        level = torch.full((moved.shape[0],), sigma, device=moved.device)
        shift = output_shift(correction, level, self.space.process, self.space.prediction)
        moved[:, : shift.shape[1]] += shift.to(moved.dtype)
        return (moved, *output[1:]) if isinstance(output, tuple) else type(output)(sample=moved)


def unconditional_part(call: Call, output: Tensor, part: slice, level: Tensor) -> Tensor | None:
    """The other half's prediction of x0; None where all rows of the call are conditional. part: the conditional rows; level: of those."""
    if part.stop - part.start == len(call.x):
        return None
    other = slice(0, part.start) if part.start else slice(part.stop, len(call.x))
    rest = call.rows(other)
    return rest.x0(output[other], rest.x, level)


def mix(given: Tensor, without: Tensor | None, scale: float | None) -> Tensor:
    """What the sampler follows; the conditional prediction where it is the only one, or the scale isn't known."""
    return given if without is None or scale is None else without + scale * (given - without)


def adapt(options: GuidanceOptions, x: Tensor) -> GuidanceOptions:
    """The options for a network that is fed x: a checkpointed gradient wants its draws one by one, which is what keeps it small."""
    options = half_safe(options, x.dtype)
    draws = replace(options.draws, micro_batch=options.draws.micro_batch or 1) if options.checkpoint else fit_draws(options.draws, x)
    return replace(options, draws=draws)


def attach(
    pipe: DiffusionPipeline | nn.Module,
    scheduler: SchedulerMixin | None = None,
    record: AleatoricOptions | FreeOptions | None = None,
    guide: GuidanceOptions | None = None,
    classifier_free: bool | None = None,
    guidance_scale: float | None = None,
) -> AbstractContextManager[AttachedRun]:
    """Watch and guide one sampling of a pipeline, or of a bare network with its scheduler; everything is undone on leaving.

    record: the spread of draws, or with FreeOptions a score that costs no call.
    classifier_free: whether each call holds an unconditional half, then a conditional one; found out for pipelines when
    left out, taken as False for a bare network.  guidance_scale: its scale, which a pipeline tells; for the trajectory.
    Raises ValueError for a pipeline without a denoising network, and for a network or scheduler that is not understood.
    """

    def scale() -> float | None:
        return getattr(pipe, "guidance_scale", None) if guidance_scale is None else guidance_scale

    return watching(pipe, scheduler, classifier_free, lambda _, space: AttachedRun(space, record=record, guide=guide, scale=scale))


@torch.no_grad()
def score(
    network: nn.Module,
    scheduler: SchedulerMixin,
    latents: Tensor,
    cond: dict[str, Any],
    options: AleatoricOptions | None = None,
    count: int = 4,
) -> Uncertainty:
    """Score finished latents at ``count`` noise levels of the window. cond: the network's other inputs, with latents' batch.

    Raises what ``core.pixelwise.aleatoric.estimate_aleatoric`` raises, and ValueError for a network or scheduler that is not understood.
    """
    check_repeatable(network)
    options, space = options or AleatoricOptions(), Space.of(scheduler)
    options = replace(options, draws=fit_draws(options.draws, latents))
    sigmas = levels(options.window, count, space.percent_to_sigma)
    return estimate_aleatoric(denoiser(network, scheduler, cond, len(latents)), latents, sigmas, space.process, options)


def denoiser(network: nn.Module, scheduler: SchedulerMixin, cond: dict[str, Any], batch: int) -> Denoiser:
    """The contract of ``core.denoiser`` on a diffusers network, at any noise level. cond: its other inputs, of that batch."""
    space = Space.of(scheduler)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return call_at(network, space, (batch, *x.shape[1:]), sigma[:batch], cond).denoise(x, sigma)

    return denoise


def call_at(network: nn.Module, space: Space, shape: Sequence[int], sigma: Tensor, cond: dict[str, Any]) -> Call:
    """A call of the network at any noise levels sigma (B,), for samples of ``shape`` (B, C, ...) yet to be given."""
    scale = 1 / space.train_steps if type(original(network)).__name__.startswith(ZERO_TO_ONE) else 1.0
    rows = sigma.tolist()
    timesteps = {level: scale * space.timestep(level) for level in set(rows)}  # rows mostly share one
    timestep = torch.tensor([timesteps[level] for level in rows], device=sigma.device)
    like = torch.empty(tuple(shape), dtype=next(network.parameters()).dtype, device="meta")
    return Call(network, space, like, timestep, cond, input_name(network, signature_of(network)))
