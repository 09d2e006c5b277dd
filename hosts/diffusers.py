"""diffusers host: watch and guide any pipeline through a forward hook on its denoising network.

    with attach(pipe, record=AleatoricOptions()) as run:
        images = pipe("a cat", num_inference_steps=30).images
    uncertainty = run.result()
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor, nn

from ..core.aleatoric import Recorder, estimate
from ..core.denoiser import Denoiser, output_shift, x0_from_output
from ..core.guidance import guide_step, half_safe
from ..core.options import AleatoricOptions, GuidanceOptions, Quantity
from ..core.result import Uncertainty
from ..core.schedule import SigmaWindow, StepGate, levels
from .diffusers_space import Space

UNBATCHED = {"img_ids", "txt_ids"}  # Flux: positions, one set for the whole batch


@dataclass(frozen=True)
class Call:
    """One call of a denoising network, taken apart: noisy input, timestep, and everything else it is conditioned on."""

    network: nn.Module
    space: Space
    x: Tensor
    timestep: Tensor
    cond: dict[str, Any]

    @classmethod
    def bind(cls, network: nn.Module, space: Space, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        named = dict(inspect.signature(network.forward).bind(*args, **kwargs).arguments)
        x = named.pop("sample" if "sample" in named else "hidden_states")
        named.pop("return_dict", None)
        return cls(network, space, x, torch.as_tensor(named.pop("timestep"), device=x.device), named)

    def rows(self, part: slice) -> Call:
        """The same call for some rows of its batch."""
        count = self.x.shape[0]
        timestep = self.timestep[part] if self.timestep.ndim and len(self.timestep) == count else self.timestep
        cond = each_tensor(self.cond, lambda v: v[part] if v.ndim and v.shape[0] == count else v)
        return replace(self, x=self.x[part], timestep=timestep, cond=cond)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The contract of ``core.denoiser``, at this call's noise level and conditions, tiled to x's rows in the order (M, B)."""
        batch = self.x.shape[0]
        m = x.shape[0] // batch
        cond = each_tensor(self.cond, lambda v: v.repeat(m, *[1] * (v.ndim - 1)) if v.ndim and v.shape[0] == batch else v)
        timestep = self.timestep.repeat(m) if self.timestep.ndim and len(self.timestep) == batch else self.timestep
        name = "sample" if "sample" in inspect.signature(self.network.forward).parameters else "hidden_states"
        # forward, not __call__: the extra passes must not meet our own hook
        output = self.network.forward(**{name: x.to(self.x.dtype)}, timestep=timestep, return_dict=False, **cond)[0]
        return self.x0(output, x, sigma)

    def x0(self, output: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """The clean sample behind a network output, float32; a learned variance in further channels is left out."""
        output = output[:, : x.shape[1]].float()
        return x0_from_output(output, x.float(), sigma, self.space.process, self.space.prediction)


def each_tensor(values: dict[str, Any], change: Any) -> dict[str, Any]:
    """``change`` applied to every tensor of a nested dict, but for those that carry no batch."""

    def visit(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return each_tensor(value, change)
        return change(value) if isinstance(value, Tensor) and name not in UNBATCHED else value

    return {name: visit(name, value) for name, value in values.items()}


@dataclass
class Run:
    """State and outcome of one sampling; a forward hook feeds it. One pipeline call each.

    network_rows: passes of the plain sampling, counted; guidance_nfe: evaluations per image that guidance added.
    """

    space: Space
    record: AleatoricOptions | None = None
    guide: GuidanceOptions | None = None
    classifier_free: bool = False
    recorder: Recorder | None = None
    step: int = -1
    sigma: float = float("inf")
    guidance_nfe: float = 0.0
    network_rows: int = 0
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
        call = Call.bind(network, self.space, args, kwargs)
        sigma = self.space.sigma_at(call.timestep)
        if sigma > self.sigma * (1 + 1e-5):
            raise RuntimeError("The noise level rose: this run has ended. Open a new attach() block for each pipeline call.")
        self.network_rows += call.x.shape[0]
        # a second call at the same level (Flux with true CFG, second-order solvers) is no new step: same correction, no new measurement
        if sigma < self.sigma * (1 - 1e-5):
            self.step, self.sigma = self.step + 1, sigma
            self.correction = self._observe(call, output[0], sigma)
        return None if self.correction is None else self._corrected(output, sigma)

    def _observe(self, call: Call, output: Tensor, sigma: float) -> Tensor | None:
        """Measure and guide one step on the conditional rows; returns the correction of eps, if any."""
        batch = call.x.shape[0] // 2 if self.classifier_free else call.x.shape[0]
        part = slice(call.x.shape[0] - batch, None)  # diffusers puts the unconditional half first
        call = call.rows(part)
        x, level = call.x.float(), torch.full((batch,), sigma, device=call.x.device)
        x0 = call.x0(output[part], x, level)
        recording, guiding = self._opens("record", self.record, sigma), self._opens("guide", self.guide, sigma)
        correction = None
        if guiding and self.guide.strength != 0:
            options = half_safe(self.guide, call.x.dtype)
            guided = guide_step(call.denoise, x, x0, level, self.space.process, options, self.step)
            self.guidance_nfe += guided.nfe
            correction = guided.correction
            if recording and guided.spread is not None and self.record.draws == self.guide.draws:
                self.recorder.add(guided.spread, sigma, 0.0, 0.0)  # the guidance's own draws cost nothing further
                return correction
        if recording:
            self.recorder.measure(call.denoise, x, x0, level, self.step)
        return correction

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

    classifier_free: whether each call holds an unconditional and a conditional half; read from the pipeline when left out.
    Raises ValueError for a pipeline without a denoising network or a scheduler that is not understood.
    """
    network = pipe if isinstance(pipe, nn.Module) else getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    if not isinstance(network, nn.Module):
        raise ValueError(f"{type(pipe).__name__} has neither a unet nor a transformer to watch.")
    scheduler = scheduler if scheduler is not None else pipe.scheduler
    run = Run(Space.of(scheduler), record, guide, bool(classifier_free))

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if classifier_free is None and pipe is not module:
            # Flux with true CFG calls twice instead of doubling the batch, and has no such property
            run.classifier_free = bool(getattr(pipe, "do_classifier_free_guidance", False))
        return run.hook(module, args, kwargs, output)

    handle = network.register_forward_hook(hook, with_kwargs=True)
    try:
        yield run
    finally:
        handle.remove()


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

    Raises what ``core.aleatoric.estimate`` raises.
    """
    options, space = options or AleatoricOptions(), Space.of(scheduler)
    sigmas = levels(options.window, count, space.percent_to_sigma)
    return estimate(denoiser(network, scheduler, cond), latents, sigmas, space.process, options)


def denoiser(network: nn.Module, scheduler: SchedulerMixin, cond: dict[str, Any]) -> Denoiser:
    """The contract of ``core.denoiser`` on a diffusers network, at any noise level. cond: its other inputs, of batch B."""
    space = Space.of(scheduler)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        timestep = torch.tensor(space.timestep(float(sigma[0])), device=x.device)
        batch = next((v.shape[0] for v in cond.values() if isinstance(v, Tensor) and v.ndim), x.shape[0])
        like = torch.empty((batch, *x.shape[1:]), dtype=next(network.parameters()).dtype, device="meta")
        return Call(network, space, like, timestep, cond).denoise(x, sigma)

    return denoise
