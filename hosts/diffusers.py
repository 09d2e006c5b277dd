"""diffusers host: watch and guide any pipeline through a forward hook on its denoising network.

    with attach(pipe, record=AleatoricOptions()) as run:
        images = pipe("a cat", num_inference_steps=30).images
    uncertainty = run.result()
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor, nn

from ..core.aleatoric import Recorder, estimate
from ..core.denoiser import Denoiser, output_shift
from ..core.guidance import guide_step, half_safe
from ..core.options import AleatoricOptions, Center, GuidanceOptions, Quantity
from ..core.result import Uncertainty
from ..core.schedule import SigmaWindow, StepGate, levels
from .diffusers_call import Call, input_name, original
from .diffusers_space import Space

CONDITIONAL_FIRST = {"DiTPipeline"}  # everywhere else the unconditional half comes first
ZERO_TO_ONE = ("Flux", "Chroma", "QwenImage", "LongCatImage", "OvisImage", "AuraFlow")  # networks that are given t / 1000


@dataclass
class Run:
    """State and outcome of one sampling; a forward hook feeds it. One pipeline call each.

    classifier_free: whether a call holds an unconditional half; None: where both halves hold the same sample.
    network_rows: passes of the plain sampling, counted; guidance_nfe: evaluations per image that guidance added.
    """

    space: Space
    record: AleatoricOptions | None = None
    guide: GuidanceOptions | None = None
    classifier_free: bool | None = False
    conditional_first: bool = False
    recorder: Recorder | None = None
    step: int = -1
    noisiness: float = math.inf
    guidance_nfe: float = 0.0
    network_rows: int = 0
    timesteps: Tensor | None = field(default=None, repr=False)
    correction: Tensor | None = field(default=None, repr=False)
    gates: dict[str, StepGate] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.record is not None:
            self.recorder = Recorder(self.record, self.space.process)

    def result(self, quantity: Quantity | None = None) -> Uncertainty:
        """What was recorded, in either quantity. Raises ValueError when nothing was asked for or no step fell into the window."""
        if self.recorder is None:
            raise ValueError("Nothing was recorded: pass record=AleatoricOptions(...) to attach().")
        return self.recorder.result({"host": "diffusers", "scheduler": type(self.space.scheduler).__name__}, quantity)

    def hook(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Forward hook: None, so that the output stays as it is, unless guidance moves it."""
        call = Call.bind(network, self.space, args, kwargs, output[0])
        sigma = self.space.sigma_at(call.timestep)
        self.network_rows += call.x.shape[0]
        if self._is_new_step(self.space.noisiness(sigma)):
            self.correction = self._observe(call, output[0], sigma)
        return None if self.correction is None else self._corrected(output, sigma)

    def _is_new_step(self, noisiness: float) -> bool:
        """A second call at the same level (Flux with true CFG, second-order solvers) is none: same correction, no new measurement."""
        timesteps = self.space.scheduler.timesteps
        first, self.timesteps = self.timesteps is None, self.timesteps if self.timesteps is not None else timesteps
        # schedulers make new timesteps for every run
        if timesteps is not self.timesteps or noisiness > self.noisiness * (1 + 1e-3):
            raise RuntimeError("The noise level rose: this run has ended. Open a new attach() block for each pipeline call.")
        if not first and noisiness >= self.noisiness * (1 - 1e-5):
            return False
        self.step, self.noisiness = self.step + 1, noisiness
        return True

    @torch.no_grad()
    def _observe(self, call: Call, output: Tensor, sigma: float) -> Tensor | None:
        """Measure and guide one step on the conditional rows; returns the correction of eps, if any."""
        part = self._conditional(call.x)
        call = call.rows(part)
        x, level = call.x.float(), torch.full(call.x.shape[:1], sigma, device=call.x.device)
        x0 = call.x0(output[part], x, level)
        recording, guiding = self._opens("record", self.record, sigma), self._opens("guide", self.guide, sigma)
        correction = None
        if guiding and self.guide.strength != 0:
            guided = guide_step(call.denoise, x, x0, level, self.space.process, half_safe(self.guide, call.x.dtype), self.step)
            self.guidance_nfe += guided.nfe
            if guided.spread is not None:  # else nothing can be moved at this level
                correction = guided.correction
                if recording and self.record.center is Center.MEAN and self.record.draws == self.guide.draws:
                    self.recorder.add(guided.spread, sigma, 0.0, 0.0)  # the guidance's own draws cost nothing further
                    recording = False
        if recording:
            self.recorder.measure(call.denoise, x, x0, level, self.step)
        return correction

    def _conditional(self, x: Tensor) -> slice:
        """The rows of a call to measure: all, or one half under classifier-free guidance in one call."""
        rows, half = len(x), len(x) // 2
        doubled = self.classifier_free
        if doubled is None:
            doubled = rows % 2 == 0 and torch.equal(x[:half], x[half:])
            if not doubled and rows % 3 == 0 and torch.equal(x[: rows // 3].repeat(3, *[1] * (x.ndim - 1)), x):
                raise ValueError("Guidance with three passes in one call is not supported; use plain classifier-free guidance.")
        if doubled and rows % 2:
            raise ValueError(f"classifier_free needs an even number of rows in each call, got {rows}; leave it out.")
        if not doubled:
            return slice(0, rows)
        return slice(0, half) if self.conditional_first else slice(half, rows)

    def _opens(self, name: str, options: AleatoricOptions | GuidanceOptions | None, sigma: float) -> bool:
        if options is None:
            return False
        if name not in self.gates:  # made at the first step: only then the scheduler knows its timesteps
            self.gates[name] = StepGate(SigmaWindow.resolve(options.window, self.space.percent_to_sigma))
        return self.gates[name].opens(sigma)

    def _corrected(self, output: Any, sigma: float) -> Any:
        """The network's output with eps moved by the correction; under CFG in both halves, so that their mix moves by just as much."""
        moved = output[0].clone()
        correction = self.correction.repeat(moved.shape[0] // self.correction.shape[0], *[1] * (self.correction.ndim - 1))
        level = torch.full((moved.shape[0],), sigma, device=moved.device)
        shift = output_shift(correction, level, self.space.process, self.space.prediction)
        moved[:, : shift.shape[1]] += shift.to(moved.dtype)
        return (moved, *output[1:]) if isinstance(output, tuple) else type(output)(sample=moved)


@contextmanager
def attach(
    pipe: DiffusionPipeline | nn.Module,
    scheduler: SchedulerMixin | None = None,
    record: AleatoricOptions | None = None,
    guide: GuidanceOptions | None = None,
    classifier_free: bool | None = None,
) -> Iterator[Run]:
    """Watch and guide one sampling of a pipeline, or of a bare network with its scheduler; everything is undone on leaving.

    classifier_free: whether each call holds an unconditional half, then a conditional one; found out for pipelines when
    left out, taken as False for a bare network.
    Raises ValueError for a pipeline without a denoising network, and for a network or scheduler that is not understood.
    """
    bare = isinstance(pipe, nn.Module)
    parts = [pipe] if bare else [getattr(pipe, name, None) for name in ("unet", "transformer")]
    network = next((part for part in parts if isinstance(part, nn.Module)), None)
    if network is None:
        raise ValueError(f"{type(pipe).__name__} has neither a unet nor a transformer to watch.")
    if bare and scheduler is None:
        raise ValueError("A network alone does not know its noise levels: pass its scheduler too.")
    check_repeatable(network)
    scheduler = scheduler if scheduler is not None else pipe.scheduler
    run = Run(Space.of(scheduler), record, guide, conditional_first=type(pipe).__name__ in CONDITIONAL_FIRST)

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        run.classifier_free = classifier_free
        if classifier_free is None and (bare or getattr(pipe, "do_classifier_free_guidance", None) is False):
            run.classifier_free = False  # the property is True too where the two passes are calls of their own
        return run.hook(module, args, kwargs, output)

    if getattr(network, "_compiled_call_impl", None) is not None:  # .compile() would trace the hook too
        hook = torch.compiler.disable(hook)
    handle = network.register_forward_hook(hook, with_kwargs=True)
    try:
        yield run
    finally:
        handle.remove()


def check_repeatable(network: nn.Module) -> None:
    """Raises ValueError, with the way out, for a network that can't be asked again with the sampling left untouched."""
    input_name(network)
    if any(isinstance(m, nn.Dropout) and m.training and m.p > 0 for m in network.modules()):
        raise ValueError(f"{type(network).__name__} is in train mode, where dropout makes every pass another one; call .eval() first.")
    if getattr(network, "is_cache_enabled", False):
        raise ValueError(f"{type(network).__name__} reuses its last pass, and further passes would change it; call .disable_cache() first.")


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

    Raises what ``core.aleatoric.estimate`` raises, and ValueError for a network or scheduler that is not understood.
    """
    check_repeatable(network)
    options, space = options or AleatoricOptions(), Space.of(scheduler)
    sigmas = levels(options.window, count, space.percent_to_sigma)
    return estimate(denoiser(network, scheduler, cond, len(latents)), latents, sigmas, space.process, options)


def denoiser(network: nn.Module, scheduler: SchedulerMixin, cond: dict[str, Any], batch: int) -> Denoiser:
    """The contract of ``core.denoiser`` on a diffusers network, at any noise level. cond: its other inputs, of that batch."""
    space, dtype = Space.of(scheduler), next(network.parameters()).dtype
    scale = 1 / space.train_steps if type(original(network)).__name__.startswith(ZERO_TO_ONE) else 1.0

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        timestep = torch.tensor([scale * space.timestep(s) for s in sigma[:batch].tolist()], device=x.device)
        like = torch.empty((batch, *x.shape[1:]), dtype=dtype, device="meta")
        return Call(network, space, like, timestep, cond).denoise(x, sigma)

    return denoise
