"""diffusers host: BayesDiff along one sampling of a deterministic scheduler.

with bayesdiff(pipe, laplace) as run:
    images = pipe("a cat", num_inference_steps=30).images
uncertainty = run.result()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor, nn

from ....core.last_layer.bayesdiff import Propagation
from ....core.last_layer.laplace import Laplace, LayerPosterior
from ....core.last_layer.layer_tap import tap_layer
from ....core.options import BayesDiffOptions
from ....core.result import Uncertainty
from ..call import Call
from ..memory import fit_draws
from ..space import Space
from ..watch import Watch, network_of, watching
from .solver import check_linear, linear_step


@dataclass
class BayesDiffRun(Watch):
    """State and outcome of one sampling.

    scale: () -> how strongly classifier-free guidance mixes the two halves of a call, y = none + scale (cond - none).
    layer_input, layer_output: of the last layer, in the sampler's own pass.
    """

    posterior: LayerPosterior = field(kw_only=True)
    options: BayesDiffOptions = field(default_factory=BayesDiffOptions)
    provenance: dict[str, str] = field(default_factory=dict)
    scale: Callable[[], float | None] = lambda: None
    own_passes: float = 0.0
    layer_input: Tensor | None = field(default=None, repr=False)
    layer_output: Tensor | None = field(default=None, repr=False)
    propagation: Propagation = field(init=False)

    def __post_init__(self) -> None:
        check_linear(self.space.scheduler)
        self.propagation = Propagation(self.options, self.space.process, self.space.prediction)

    def layer_hook(self, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> None:
        self.layer_input, self.layer_output = args[0] if args else kwargs["input"], output

    @torch.no_grad()
    def observe(self, call: Call, output: Tensor, sigma: float) -> None:
        """Carry the variance over the step that the scheduler is about to take."""
        part = self.conditional(call.x)
        mixing = Mixing(part, len(call.x), self._scale(part, call.x))
        x, space = call.x[part], self.space
        self.propagation.options = replace(self.options, draws=fit_draws(self.options.draws, call.x))
        self.propagation.check(x)
        index = space.step_at(call.timestep.flatten()[0])
        linear = linear_step(space, self.step if index is None else index, self.step == 0)
        y = mixing.of(output[:, : x.shape[1]].float())
        level = torch.full(x.shape[:1], sigma, device=x.device)
        layer_input, layer_output = self._last_layer()
        features, straight = mixing.of(layer_input), same(layer_output, output)

        def denoise(rows: Tensor, levels: Tensor) -> Tensor:
            return mixing.x0(call, rows, levels)

        def output_variance() -> Tensor:
            variance = self.posterior.gaussian.output_variance(self.posterior.layer, features)
            variance = variance if straight else self._carried(call.rows(part), variance)
            return variance[:, : x.shape[1]]

        self.propagation.advance(denoise, x, level, linear, output_variance, mixing.passes)
        self.propagation.expect(x, y, level, linear)

    def _scale(self, part: slice, x: Tensor) -> float:
        if part.stop - part.start == len(x):
            return 1.0
        if (scale := self.scale()) is None:
            raise ValueError("BayesDiff must know how strongly the sampling is guided: pass guidance_scale.")
        return float(scale)

    def _last_layer(self) -> tuple[Tensor, Tensor]:
        """What went into the last layer and came out, in the sampler's own pass."""
        taken = self.layer_input, self.layer_output
        self.layer_input = self.layer_output = None
        if taken[0] is None or taken[1] is None:
            raise ValueError("The last layer did not act in the sampler's pass of the network; fit Laplace on another layer.")
        return taken[0], taken[1]

    def _carried(self, call: Call, variance: Tensor) -> Tensor:
        """Through what a transformer does after its last layer (unpatchify), which takes a pass of its own to be known."""
        self.own_passes += 1
        with tap_layer(self.posterior.layer, lambda: call.output(call.x)) as tap:
            return tap.carry(variance)

    def result(self) -> Uncertainty:
        """Var[x] of the finished samples; high = bad. Raises ValueError when no step was taken."""
        provenance = {"host": "diffusers", "scheduler": type(self.space.scheduler).__name__}
        result = self.propagation.result(self.provenance | provenance)
        return replace(result, nfe=result.nfe + self.own_passes)


def same(layer_output: Tensor, output: Tensor) -> bool:
    """Whether the network gives out what its last layer does, as UNets do."""
    # an image that failed is NaN in both, and no reason to take another way for all
    return layer_output.shape == output.shape and torch.equal(layer_output.nan_to_num(), output.nan_to_num())


@dataclass(frozen=True)
class Mixing:
    """What classifier-free guidance makes of the halves of a call, none + scale (cond - none); all rows as they are without it."""

    part: slice
    rows: int
    scale: float

    @property
    def passes(self) -> int:
        return self.rows // (self.part.stop - self.part.start)

    def of(self, values: Tensor) -> Tensor:
        """(rows, ...) -> (B, ...)"""
        if self.passes == 1:
            return values
        cond, half = values[self.part], self.rows // 2
        none = values[half:] if self.part.start == 0 else values[:half]
        return none + self.scale * (cond - none)

    def x0(self, call: Call, x: Tensor, sigma: Tensor) -> Tensor:
        """The clean prediction at drawn samples (M * B, C, ...)."""
        if self.passes == 1:
            return call.denoise(x, sigma)
        both = [values.unflatten(0, (-1, self.rows // 2)) for values in (x, sigma)]  # (M, B, ...)
        x0 = call.denoise(*(torch.cat([values, values], dim=1).flatten(0, 1) for values in both))
        return torch.cat([self.of(draw) for draw in x0.split(self.rows)])


@contextmanager
def bayesdiff(
    pipe: DiffusionPipeline | nn.Module,
    laplace: Laplace,
    scheduler: SchedulerMixin | None = None,
    options: BayesDiffOptions | None = None,
    guidance_scale: float | None = None,
) -> Iterator[BayesDiffRun]:
    """Watch one sampling of a pipeline, or of a bare network with its scheduler; the sampling stays as it is, bit for bit.

    scheduler: DDIM, DPM-Solver++ 2M or Euler, of a flow too.  guidance_scale: of a bare network whose calls hold an unconditional half,
    then a conditional one; pipelines say it themselves.
    NFE: options.draws.samples on each uncertain step but the first, twice that under guidance in one call; where the last layer's
    output is not the network's (transformers), one more on each.
    Raises ValueError for another scheduler, one that adds noise or clips, a Laplace fit of another model, and what ``attach`` raises.
    """
    network = network_of(pipe)
    posterior = laplace.posterior(network)
    provenance = {"layer": laplace.identity.name, "training_samples": str(laplace.samples)}
    provenance |= {name: f"{getattr(laplace.options, name):g}" for name in ("prior_precision", "noise_variance")}

    def scale() -> float | None:  # a pipeline knows it only once it is called
        return getattr(pipe, "_guidance_scale", None) if guidance_scale is None else guidance_scale

    def make(_: nn.Module, space: Space) -> BayesDiffRun:
        return BayesDiffRun(space, posterior=posterior, options=options or BayesDiffOptions(), provenance=provenance, scale=scale)

    doubled = guidance_scale != 1 if isinstance(pipe, nn.Module) and guidance_scale is not None else None
    with watching(pipe, scheduler, doubled, make) as run:
        handle = posterior.layer.register_forward_hook(run.layer_hook, with_kwargs=True)
        try:
            yield run
        finally:
            handle.remove()
