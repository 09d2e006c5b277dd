"""The search for a use of uncertainty that improves tuned classifier-free guidance (CFG) at equal calls.

The protocol, written before anything ran. Tuning: 500 images of seed 7. A setting is a candidate for the judged table when no control
with as many calls or fewer has at least its agreement, its recall and its FID gain at once (the frontier), and when its FID gain over
the best such control is above 0. Judging: seeds 1 to 3, on which nothing is tuned. It wins when its FID gain over that control has a 95 %
interval above 0 while agreement and recall are not clearly lower, or when it shows the asked digit more often, clearly, and neither FID nor
recall is clearly worse. What wins becomes a mode of guidance; what does not stays a row of the table.

Controls: CFG at 1.25, 1.5, in windows, with eps scaled. What is added to a control's prediction has the control's norm, or it would only be
a stronger CFG. d = cond - none, the direction of CFG; |d| of each pixel is the model's own doubt whether the prompt matters there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from uncertainty_nodes.benchmarks.shared.guidance.settings import PAIR, POSTERIOR, STEPS, Cfg, Model, Moved, Plain, Setting, guided
from uncertainty_nodes.core.denoiser import x0_from_output
from uncertainty_nodes.core.guidance.step import guide_step
from uncertainty_nodes.core.options import GuidanceOptions
from uncertainty_nodes.hosts.diffusers.attach import denoiser
from uncertainty_nodes.hosts.diffusers.demo import NO_CLASS, predict
from uncertainty_nodes.hosts.diffusers.space import Space

TUNING_SEED = 7


class Move(str, Enum):
    """What is added to the conditional prediction beside, or in place of, CFG."""

    PIXELS = "CFG follows |d| of each pixel"  # (s - 1) d, its pixels weighted by |d|, of the same norm
    PIXELS_AGAINST = "CFG follows 1 / |d| of each pixel"
    STEPS_EVEN = "the same share of |eps| at every step"  # (s - 1) d, of norm `strength` * |eps|
    ACROSS = "posterior guidance across d"  # posterior, its part along d taken out, on top of CFG
    WEAK = "away from a network without its middle"  # cond + (s - 1) (cond - weak), with CFG at `cfg`


@dataclass(frozen=True)
class Steered:
    """Sampling with one of these moves in the part begin..end of the schedule. scale: s above. cfg: of the mix that is moved."""

    move: Move
    scale: float = 1.5
    cfg: float = 1.0
    strength: float = 0.02
    begin: float = 0.0
    end: float = 1.0

    @torch.no_grad()
    def draw(self, model: Model, noise: Tensor, labels: Tensor, first: int, seed: int) -> tuple[Tensor, float]:
        x, calls = noise, 0.0
        model.scheduler.set_timesteps(STEPS)
        for i, t in enumerate(model.scheduler.timesteps):
            if self.begin <= i / STEPS < self.end:
                eps, spent = self.step(model, x, t, labels, i)
            else:
                eps, spent = predict(model.network, x, t, labels, 1.0).float(), 1.0
            x, calls = model.scheduler.step(eps, t, x).prev_sample, calls + spent
        return x, calls

    def step(self, model: Model, x: Tensor, t: Tensor, labels: Tensor, i: int) -> tuple[Tensor, float]:
        if self.move is Move.WEAK:
            return self.away(model, x, t, labels)
        none, cond = halves(model.network, x, t, labels)
        d = cond - none
        if self.move is Move.ACROSS:
            moved, spent = posterior(model, x, t, labels, cond, i, self.strength)
            return none + self.cfg * d + moved - along(moved, d), 2 + spent
        if self.move is Move.STEPS_EVEN:
            return cond + self.strength * norm(cond) / norm(d).clamp_min(1e-6) * d, 2.0
        weight = d.abs() if self.move is Move.PIXELS else 1 / (d.abs() + d.abs().flatten(1).mean(dim=1).view(-1, 1, 1, 1))
        return cond + (self.scale - 1) * norm(d) / norm(weight * d).clamp_min(1e-6) * weight * d, 2.0

    def away(self, model: Model, x: Tensor, t: Tensor, labels: Tensor) -> tuple[Tensor, float]:
        """Autoguidance (Karras et al. 2024, arXiv 2406.02507, eq. 3), its weak model being the network with a part left out."""
        cond = predict(model.network, x, t, labels, 1.0).float()
        with without_middle(model.network):
            weak = predict(model.network, x, t, labels, 1.0).float()
        if self.cfg == 1:
            return cond + (self.scale - 1) * (cond - weak), 2.0
        none = predict(model.network, x, t, torch.full_like(labels, NO_CLASS), 1.0).float()
        return none + self.cfg * (cond - none) + (self.scale - 1) * (cond - weak), 3.0


def halves(network: nn.Module, x: Tensor, t: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The unconditional and the conditional prediction, from one call with twice the batch."""
    both = torch.cat([torch.full_like(labels, NO_CLASS), labels])
    none, cond = network(torch.cat([x, x]), t, class_labels=both).sample.float().chunk(2)
    return none, cond


def posterior(model: Model, x: Tensor, t: Tensor, labels: Tensor, cond: Tensor, step: int, strength: float) -> tuple[Tensor, float]:
    """What posterior guidance adds to eps, and its calls per image."""
    space = Space.of(model.scheduler)
    sigma = torch.full((len(x),), space.sigma_at(t))
    x0 = x0_from_output(cond, x, sigma, space.process, space.prediction)
    denoise = denoiser(model.network, model.scheduler, {"class_labels": labels}, len(x))
    found = guide_step(denoise, x, x0, sigma, space.process, GuidanceOptions(strength, draws=PAIR, mode=POSTERIOR), step)
    return found.correction, found.nfe


@contextmanager
def without_middle(network: nn.Module) -> Iterator[None]:
    """The network with its middle block skipped."""

    def skip(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return args[0]

    handle = network.mid_block.register_forward_hook(skip)
    try:
        yield
    finally:
        handle.remove()


def norm(x: Tensor) -> Tensor:
    """Of each image, (B, 1, 1, 1)."""
    return x.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def along(x: Tensor, d: Tensor) -> Tensor:
    """The part of x along d, image by image."""
    return (x * d).flatten(1).sum(dim=1).view(-1, 1, 1, 1) / norm(d).square().clamp_min(1e-12) * d


@dataclass(frozen=True)
class Unconditional:
    """Another setting where no condition is to be had: the class is the one that stands for none."""

    setting: Setting

    def draw(self, model: Model, noise: Tensor, labels: Tensor, first: int, seed: int) -> tuple[Tensor, float]:
        return self.setting.draw(model, noise, torch.full_like(labels, NO_CLASS), first, seed)


CONTROLS: dict[str, Setting] = {
    "CFG 1.25": Cfg(1.25),
    "CFG 1.5": Cfg(1.5),
    "CFG 1.25, eps x 1.01": Cfg(1.25, factor=1.01),
    "CFG 1.5 in the middle 60 % of the schedule": Cfg(1.5, 0.2, 0.8),
    "CFG 1.75 in the second half of the schedule": Cfg(1.75, 0.5, 1.0),
}
CANDIDATES: dict[str, Setting] = {
    "CFG 1.25, following |d| of each pixel": Steered(Move.PIXELS, 1.25),
    "CFG 1.25, against |d| of each pixel": Steered(Move.PIXELS_AGAINST, 1.25),
    "CFG 1.5, against |d| of each pixel": Steered(Move.PIXELS_AGAINST, 1.5),
    "CFG of 0.02 of |eps| at every step": Steered(Move.STEPS_EVEN, strength=0.02),
    "CFG of 0.04 of |eps| at every step": Steered(Move.STEPS_EVEN, strength=0.04),
    "CFG 1.25, posterior 0.02 across d": Steered(Move.ACROSS, cfg=1.25),
    "CFG 1.25, posterior 0.01 across d, second half": Steered(Move.ACROSS, cfg=1.25, strength=0.01, begin=0.5),
    "away from the weak network, 1.25": Steered(Move.WEAK, 1.25),
    "away from the weak network, 1.5": Steered(Move.WEAK, 1.5),
    "away from the weak network, 1.5, late": Steered(Move.WEAK, 1.5, begin=0.5),
}
NO_CONDITION = "no condition"
WITHOUT_CONDITION: dict[str, Setting] = {
    NO_CONDITION: Unconditional(Plain()),
    "no condition, eps x 1.02": Unconditional(Moved(1.02)),
    "no condition, posterior 0.02": Unconditional(guided(0.02, mode=POSTERIOR)),
    "no condition, away from the weak network, 1.5": Unconditional(Steered(Move.WEAK, 1.5)),
}
SEARCH = {"plain": Plain()} | CONTROLS | CANDIDATES | WITHOUT_CONDITION
