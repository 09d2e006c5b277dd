"""What benchmarks/quality/guidance.py compares: guided sampling in its variants, and controls that could explain its effect away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from uncertainty_nodes.core.denoiser import Prediction, eps_from_x0, output_shift, x0_from_output
from uncertainty_nodes.core.guidance.step import scale, without_mean
from uncertainty_nodes.core.options import (
    COARSE_STEP_SIZE,
    AleatoricOptions,
    DrawOptions,
    GuidanceMode,
    GuidanceOptions,
    GuidanceUnits,
    InformationOptions,
    StepWindow,
)
from uncertainty_nodes.hosts.diffusers.attach import score
from uncertainty_nodes.hosts.diffusers.demo import attach, conditions, predict, sample, starting_noise
from uncertainty_nodes.hosts.diffusers.information import information
from uncertainty_nodes.hosts.diffusers.space import Space

STEPS = 20
PAIR = DrawOptions(samples=2)


@dataclass(frozen=True)
class Model:
    network: nn.Module
    scheduler: Any


class Setting(Protocol):
    """``draw(model, noise, labels, first, seed) -> (images, network calls per image)``; the first image is number ``first`` of its seed."""

    def draw(self, model: Model, noise: Tensor, labels: Tensor, first: int, seed: int) -> tuple[Tensor, float]: ...


@dataclass(frozen=True)
class Plain:
    steps: int = STEPS

    def draw(self, model: Model, noise: Tensor, labels: Tensor, first: int, seed: int) -> tuple[Tensor, float]:
        return sample(model.network, model.scheduler, noise, labels, self.steps), float(self.steps)


@dataclass(frozen=True)
class Moved:
    """Control: eps times ``factor`` plus a random direction of relative norm ``random``, fresh at each step. No extra call."""

    factor: float = 1.0
    random: float = 0.0

    def draw(self, model: Model, noise: Tensor, labels: Tensor, first: int, seed: int) -> tuple[Tensor, float]:
        with self.hooked(model.network, first):
            return sample(model.network, model.scheduler, noise, labels, STEPS), float(STEPS)

    @contextmanager
    def hooked(self, network: nn.Module, first: int) -> Iterator[None]:
        generator = torch.Generator().manual_seed(first)

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            eps = output.sample * self.factor
            if self.random:
                direction = without_mean(torch.randn(eps.shape, generator=generator).to(eps.device))
                eps = eps + scale(direction, eps, GuidanceOptions(strength=self.random))
            return type(output)(sample=eps)

        handle = network.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()


@dataclass(frozen=True)
class Guided:
    """Guided sampling; with a factor, the guided eps is then scaled by it."""

    options: GuidanceOptions
    factor: float = 1.0
    cfg: float = 1.0

    def draw(self, model: Model, noise: Tensor, labels: Tensor, first: int, seed: int) -> tuple[Tensor, float]:
        options = replace(self.options, step_size=COARSE_STEP_SIZE) if torch.is_autocast_enabled(noise.device.type) else self.options
        watched = attach(model.network, model.scheduler, guide=options, classifier_free=self.cfg != 1)
        with watched as run, Moved(self.factor).hooked(model.network, first):
            images = sample(model.network, model.scheduler, noise, labels, STEPS, self.cfg)
        return images, STEPS * (1 if self.cfg == 1 else 2) + run.guidance_nfe


@dataclass(frozen=True)
class BestOf:
    """Control: of ``candidates`` plain samplings, the one with the most prompt information, or with the least V. The first is plain's."""

    candidates: int
    by: InformationOptions | AleatoricOptions

    def draw(self, model: Model, noise: Tensor, labels: Tensor, first: int, seed: int) -> tuple[Tensor, float]:
        images, goodness, nfe = [], [], 0.0
        for candidate in range(self.candidates):
            start = noise if candidate == 0 else starting_noise(len(noise), seed + 1000 * candidate, first)
            images.append(sample(model.network, model.scheduler, start, labels, STEPS))
            found = self.judged(model, images[-1], labels)
            goodness.append(-found.badness)
            nfe += STEPS + found.nfe
        best = torch.stack(goodness).argmax(dim=0)
        return torch.stack(images)[best, torch.arange(len(noise), device=best.device)], nfe

    def judged(self, model: Model, images: Tensor, labels: Tensor) -> Any:
        cond, none = conditions(labels)
        if isinstance(self.by, AleatoricOptions):
            return score(model.network, model.scheduler, images, cond, self.by, count=1)
        return information(model.network, model.scheduler, images, cond, none, self.by).result


@dataclass(frozen=True)
class Cfg:
    """Control: classifier-free guidance, eps = none + scale * (cond - none), in a part of the schedule; then eps times ``factor``."""

    scale: float
    begin: float = 0.0
    end: float = 1.0
    factor: float = 1.0

    @torch.no_grad()
    def draw(self, model: Model, noise: Tensor, labels: Tensor, first: int, seed: int) -> tuple[Tensor, float]:
        x, calls = noise, 0
        model.scheduler.set_timesteps(STEPS, device=x.device)
        for i, t in enumerate(model.scheduler.timesteps):
            scale = self.scale if self.begin <= i / STEPS < self.end else 1.0
            output = predict(model.network, x, t, labels, scale).float()
            x = model.scheduler.step(scale_eps(model.scheduler, output, x, t, self.factor), t, x).prev_sample
            calls += 1 if scale == 1 else 2
        return x, float(calls)


def scale_eps(scheduler: Any, output: Tensor, x: Tensor, t: Tensor, factor: float) -> Tensor:
    """The network's output, whatever it predicts, whose eps is ``factor`` times as large."""
    space = Space.of(scheduler)
    if factor == 1 or space.prediction is Prediction.EPS:
        return output * factor
    level = torch.full((len(x),), space.sigma_at(t), device=x.device)
    eps = eps_from_x0(x, x0_from_output(output, x, level, space.process, space.prediction), level, space.process)
    return output + output_shift((factor - 1) * eps, level, space.process, space.prediction)


def guided(strength: float, factor: float = 1.0, cfg: float = 1.0, **options: Any) -> Guided:
    return Guided(GuidanceOptions(**{"draws": PAIR, "mode": GuidanceMode.FORWARD, "strength": strength, **options}), factor, cfg)


ONE_LEVEL = InformationOptions(DrawOptions(2, antithetic=True), levels=1)  # 4 calls
POSTERIOR, AUTOGRAD = GuidanceMode.POSTERIOR, GuidanceMode.AUTOGRAD

# over all images: what decides whether guidance earns its price
MAIN: dict[str, Setting] = {
    "plain": Plain(),
    "eps x 1.02": Moved(1.02),
    "forward 0.2": guided(0.2),
    "plain, 100 steps": Plain(5 * STEPS),
    "eps x 1.03": Moved(1.03),
    "random direction 0.1": Moved(random=0.1),
    "best of 4 by information": BestOf(4, ONE_LEVEL),
    "forward 0.1": guided(0.1),
    "posterior 0.05": guided(0.05, mode=POSTERIOR),
    "posterior 0.02": guided(0.02, mode=POSTERIOR),
}
# over the first images only: which setting is best
SCREEN: dict[str, Setting] = {
    "eps x 1.01": Moved(1.01),
    "eps x 1.04": Moved(1.04),
    "forward 0.2, orthogonal": guided(0.2, orthogonal=True),
    "forward 0.05": guided(0.05),
    "forward 0.3": guided(0.3),
    "forward -0.1": guided(-0.1),
    "forward 0.1, orthogonal": guided(0.1, orthogonal=True),
    "autograd 0.1": guided(0.1, mode=AUTOGRAD),
    "autograd 0.2": guided(0.2, mode=AUTOGRAD),
    "posterior 0.01": guided(0.01, mode=POSTERIOR),
    "posterior 0.03": guided(0.03, mode=POSTERIOR),
    "posterior 0.1": guided(0.1, mode=POSTERIOR),
    "posterior -0.02": guided(-0.02, mode=POSTERIOR),
    "posterior -0.05": guided(-0.05, mode=POSTERIOR),
    "posterior 0.02, orthogonal": guided(0.02, mode=POSTERIOR, orthogonal=True),
    "posterior 0.02, then eps x 1.01": guided(0.02, 1.01, mode=POSTERIOR),
    "posterior 0.02, 5 draws": guided(0.02, mode=POSTERIOR, draws=DrawOptions(samples=5)),
    "posterior 0.02, second half of the schedule": guided(0.02, mode=POSTERIOR, window=StepWindow(0.5, 1.0)),
    "posterior 0.02, top half of pixels": guided(0.02, mode=POSTERIOR, percentile=50.0),
    "forward 0.1, top 5 % of pixels": guided(0.1, percentile=95.0),
    "forward 1.0, top 5 % of pixels": guided(1.0, percentile=95.0),
    "paper: autograd, raw 1, top 5 %, 5 draws": Guided(GuidanceOptions.paper()),
    "autograd, raw 0.1, all pixels": guided(0.1, mode=AUTOGRAD, units=GuidanceUnits.RAW),
    "forward 0.2, top half of pixels": guided(0.2, percentile=50.0),
    "forward 0.2, first half of the schedule": guided(0.2, window=StepWindow(0.0, 0.5)),
    "forward 0.2, second half of the schedule": guided(0.2, window=StepWindow(0.5, 1.0)),
    "forward 0.2, every other step": guided(0.2, window=StepWindow(every=2)),
    "forward 0.1, 3 draws": guided(0.1, draws=DrawOptions(samples=3)),
    "forward 0.1, 5 draws": guided(0.1, draws=DrawOptions(samples=5)),
    "forward 0.1, mean not kept": guided(0.1, keep_mean=False),
    "orthogonal 0.1, then eps x 1.02": guided(0.1, 1.02, orthogonal=True),
    "best of 4 by V": BestOf(4, AleatoricOptions(draws=DrawOptions(samples=5))),
    "eps x 0.98": Moved(0.98),
    "eps x 1.06": Moved(1.06),
}

# under classifier-free guidance, with several seeds: what somebody who uses it already gains by more
UNDER_CFG: dict[str, Setting] = {
    "plain": Plain(),
    "eps x 1.02": Moved(1.02),
    "CFG 1.25": Cfg(1.25),
    "CFG 1.5": Cfg(1.5),
    "CFG 2": Cfg(2.0),
    "CFG 1.5 in the middle 60 % of the schedule": Cfg(1.5, 0.2, 0.8),
    "CFG 1.25, eps x 1.01": Cfg(1.25, factor=1.01),
    "posterior 0.02": guided(0.02, mode=POSTERIOR),
    "CFG 1.25, posterior 0.02": guided(0.02, cfg=1.25, mode=POSTERIOR),
    "CFG 1.5, posterior 0.02": guided(0.02, cfg=1.5, mode=POSTERIOR),
}
