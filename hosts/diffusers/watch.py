"""diffusers host: one sampling watched step by step, through a forward hook on the denoising network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import Signature
from typing import Any, TypeVar

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor, nn

from ...core.options import StepWindow
from ...core.schedule import SigmaWindow, StepGate
from .call import Call, signature_of
from .repeatable import check_repeatable
from .space import Space

CONDITIONAL_FIRST = {"DiTPipeline"}  # everywhere else the unconditional half comes first


@dataclass
class Watch:
    """State of one sampling, one pipeline call each; ``observe`` is called once per step, with the network's own call and output.

    classifier_free: whether a call holds an unconditional half; None: where both halves hold the same sample.
    network_rows: passes of the plain sampling, counted. doubled: number of rows in a call -> whether they were found to be two halves.
    signature: the network's.  sigmas: noise levels of the run's steps, from its first call on.
    """

    space: Space
    classifier_free: bool | None = False
    conditional_first: bool = False
    step: int = -1
    noisiness: float = math.inf
    network_rows: int = 0
    timesteps: Tensor | None = field(default=None, repr=False)
    doubled: dict[int, bool] = field(default_factory=dict, repr=False)
    signature: Signature | None = field(default=None, repr=False)
    sigmas: tuple[float, ...] = ()

    def observe(self, call: Call, output: Tensor, sigma: float) -> None:
        """One step of the sampler. Extra passes go through ``call``, which does not meet the hook."""
        raise NotImplementedError

    def observe_again(self, call: Call, output: Tensor, sigma: float) -> None:
        """A further call at the step's noise level."""

    def hook(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Forward hook: None, so that the output stays as it is, unless a subclass moves it."""
        self.signature = self.signature or signature_of(network)
        call = Call.bind(network, self.space, self.signature, args, kwargs, output[0])
        sigma = self.space.sigma_at(call.timestep)
        self.sigmas = self.sigmas or self.space.sigmas_from(call.timestep)
        self.network_rows += call.x.shape[0]
        if self.is_new_step(self.space.noisiness(sigma)):
            self.observe(call, output[0], sigma)
        else:
            self.observe_again(call, output[0], sigma)
        return self.moved(output, sigma)

    def moved(self, output: Any, sigma: float) -> Any:
        """What the sampler is to see instead of the output; None: the output."""
        return None

    def gate(self, window: StepWindow) -> StepGate:
        """Which steps of the run to act on, known once it has begun: only then the scheduler has its timesteps."""
        return StepGate(SigmaWindow.resolve(window, self.space.percent_to_sigma))

    def reaching_gate(self, window: StepWindow) -> StepGate:
        """The same, or the step nearest to the window where no step of the run lies in it: what is to be measured is measured once."""
        return StepGate(self.gate(window).window.reaching(self.sigmas))

    def is_new_step(self, noisiness: float) -> bool:
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

    def conditional(self, x: Tensor) -> slice:
        """The rows of a call to measure: all, or one half under classifier-free guidance in one call."""
        rows, half = len(x), len(x) // 2
        doubled = self.classifier_free
        if doubled is None:  # decided by the noise that a run begins with: an image that fails later is NaN, and looks like every other
            if rows not in self.doubled:
                self.doubled[rows] = self._is_doubled(x)
            doubled = self.doubled[rows]
        if doubled and rows % 2:
            raise ValueError(f"classifier_free needs an even number of rows in each call, got {rows}; leave it out.")
        if not doubled:
            return slice(0, rows)
        return slice(0, half) if self.conditional_first else slice(half, rows)

    def _is_doubled(self, x: Tensor) -> bool:
        rows, half = len(x), len(x) // 2
        if rows % 2 == 0 and is_copy(x[:half], x[half:]):
            return True
        if rows % 3 == 0 and is_copy(x[: rows // 3].repeat(3, *[1] * (x.ndim - 1)), x):
            raise ValueError("Guidance with three passes in one call is not supported; use plain classifier-free guidance.")
        return False


def is_copy(x: Tensor, y: Tensor) -> bool:
    """Whether two samples are copies of each other, NaN being equal to NaN: an image that failed is still the same image."""
    return bool(((x == y) | (x.isnan() & y.isnan())).all())


W = TypeVar("W", bound=Watch)


@contextmanager
def watching(
    pipe: DiffusionPipeline | nn.Module,
    scheduler: SchedulerMixin | None,
    classifier_free: bool | None,
    make: Callable[[nn.Module, Space], W],
) -> Iterator[W]:
    """Hangs a Watch on one sampling of a pipeline, or of a bare network with its scheduler; everything is undone on leaving.

    classifier_free: whether each call holds an unconditional half, then a conditional one; found out for pipelines when
    left out, taken as False for a bare network.
    Raises ValueError for a pipeline without a denoising network, and for a network or scheduler that is not understood.
    """
    bare, network = isinstance(pipe, nn.Module), network_of(pipe)
    if bare and scheduler is None:
        raise ValueError("A network alone does not know its noise levels: pass its scheduler too.")
    check_repeatable(network)
    watch = make(network, Space.of(scheduler if scheduler is not None else pipe.scheduler))
    watch.conditional_first = type(pipe).__name__ in CONDITIONAL_FIRST

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        watch.classifier_free = classifier_free
        if classifier_free is None and (bare or getattr(pipe, "do_classifier_free_guidance", None) is False):
            watch.classifier_free = False  # the property is True too where the two passes are calls of their own
        return watch.hook(module, args, kwargs, output)

    if getattr(network, "_compiled_call_impl", None) is not None:  # .compile() would trace the hook too
        hook = torch.compiler.disable(hook)
    handle = network.register_forward_hook(hook, with_kwargs=True)
    try:
        yield watch
    finally:
        handle.remove()


def network_of(pipe: DiffusionPipeline | nn.Module) -> nn.Module:
    """The denoising network of a pipeline, or the network itself. Raises ValueError for a pipeline without one."""
    parts = [pipe] if isinstance(pipe, nn.Module) else [getattr(pipe, name, None) for name in ("unet", "transformer")]
    network = next((part for part in parts if isinstance(part, nn.Module)), None)
    if network is None:
        raise ValueError(f"{type(pipe).__name__} has neither a unet nor a transformer to watch.")
    return network
