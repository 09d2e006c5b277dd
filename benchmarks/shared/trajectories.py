"""Whole samplings for free_scores.py: every step's predictions are kept, so that any window and weight can be tried on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.shared.candidates import DRAWS
from uncertainty_nodes.benchmarks.shared.common import kept
from uncertainty_nodes.benchmarks.shared.pool import SEEDS, Chunk, Lab
from uncertainty_nodes.core.denoiser import x0_from_output
from uncertainty_nodes.core.options import Scorer
from uncertainty_nodes.core.search.scoring import comparison_sigma, score_candidates
from uncertainty_nodes.hosts.diffusers.attach import denoiser
from uncertainty_nodes.hosts.diffusers.demo import conditions, predict
from uncertainty_nodes.hosts.diffusers.information import information
from uncertainty_nodes.hosts.diffusers.space import Space

# by scale of classifier-free guidance: none, as in filtering.py; the two best of this model; a strong one
STEPS = {1.0: 25, 1.25: 20, 1.5: 20, 3.0: 20}
POINTS = (0.2, 0.35, 0.5)  # of the steps, where a search may stop


@dataclass(frozen=True)
class Drawn:
    """One chunk. x0: (S, B, pixels) the conditional predictions, without: the unconditional ones (S is 0 without guidance).

    The sampler follows without + scale * (x0 - without). log_p: (B,) of the asked class by the bundled classifier.
    """

    scale: float
    x0: Tensor
    without: Tensor
    sigmas: Tensor
    images: Tensor
    log_p: Tensor

    @property
    def followed(self) -> Tensor:
        """(S, B, pixels) the sampler's own predictions."""
        return self.x0 if self.scale == 1 else self.without + self.scale * (self.x0 - self.without)


def rounds(lab: Lab, images: int, scales: Sequence[float]) -> Iterator[tuple[float, Chunk]]:
    """The scales take turns, so that a stop leaves them alike. images: of each seed."""
    for chunk in lab.chunks(SEEDS, images):
        for scale in scales:
            yield scale, chunk


def drawn(lab: Lab, scale: float, chunk: Chunk) -> Drawn:
    """Drawn, or read back."""
    path = lab.path(f"draw_{scale:g}", chunk)
    tensors = kept(path, lab.options | {"steps": STEPS[scale]}, lambda: draw(lab, scale, chunk))
    halves = {name: tensors[name].float() for name in ("x0", "without")}
    return Drawn(scale, halves["x0"], halves["without"], tensors["sigmas"], tensors["images"], tensors["log_p"])


@torch.no_grad()
def draw(lab: Lab, scale: float, chunk: Chunk) -> dict[str, Tensor]:
    """As ``pool.Lab.draw`` draws, which at scale 1 gives the images of filtering.py."""
    space, x, given, without, sigmas = Space.of(lab.scheduler), chunk.noise, [], [], []
    lab.scheduler.set_timesteps(STEPS[scale])
    for t in lab.scheduler.timesteps:
        sigma = space.sigma_at(t)
        with lab.casting():
            parts = evaluate(lab.network, x, t, chunk.labels, scale)
        level = torch.full((len(x),), sigma)
        x0 = [x0_from_output(part.float(), x, level, space.process, space.prediction) for part in parts]
        given.append(x0[0].flatten(1).half())
        without.append(x0[-1].flatten(1).half())
        sigmas.append(sigma)
        output = parts[0] if scale == 1 else parts[1].float() + scale * (parts[0].float() - parts[1].float())
        x = lab.scheduler.step(output, t, x).prev_sample
    log_p = lab.subject.judge(x).log_softmax(dim=1)[torch.arange(len(x)), chunk.labels]
    both = {"x0": torch.stack(given), "without": torch.stack(without) if scale != 1 else torch.zeros(0)}
    return both | {"sigmas": torch.tensor(sigmas), "images": x.float(), "log_p": log_p}


def evaluate(network: Any, x: Tensor, t: Tensor, labels: Tensor, scale: float) -> tuple[Tensor, ...]:
    """The network's outputs: conditional, and unconditional under guidance."""
    if scale == 1:
        return (predict(network, x, t, labels, 1.0),)
    both = torch.cat([labels, conditions(labels)[1]["class_labels"]])
    return network(torch.cat([x, x]), t, class_labels=both).sample.chunk(2)


def picked(sampled: Drawn, index: int) -> Tensor:
    """Places of all bad images of a chunk and of every seventh good one: what costly scores are measured on. An AUROC stays what it is."""
    bad = sampled.log_p.exp() < 0.5
    every = (torch.arange(len(bad)) + index) % 7 == 0
    return (bad | every).nonzero().flatten()


def priced(lab: Lab, scale: float, chunk: Chunk) -> dict[str, Tensor]:
    """Of the picked images, scores that cost calls: finished, and at POINTS as a search takes them; measured, or read back."""
    path = lab.path(f"priced_{scale:g}", chunk)
    return kept(path, lab.options | {"steps": STEPS[scale]}, lambda: measure(lab, chunk, drawn(lab, scale, chunk)))


@torch.no_grad()
def measure(lab: Lab, chunk: Chunk, sampled: Drawn) -> dict[str, Tensor]:
    places = picked(sampled, chunk.index)
    space, cond, images = Space.of(lab.scheduler), conditions(chunk.labels[places]), sampled.images[places]
    given, without = (denoiser(lab.network, lab.scheduler, c, len(places)) for c in cond)
    with lab.casting():
        found = {"information": information(lab.network, lab.scheduler, images, *cond).result.scores}
        for point in POINTS:
            step = step_at(point, len(sampled.sigmas))
            x0, level = sampled.x0[step][places].view_as(images), comparison_sigma(float(sampled.sigmas[step]), space.percent_to_sigma)
            scores = score_candidates(given, without, x0, level, space.process, DRAWS, (Scorer.INFORMATION, Scorer.DENOISED))
            found |= {f"{scorer.value} at {point:g}": values for scorer, values in scores.by.items()}
    return found


def step_at(point: float, steps: int) -> int:
    """The last step of the first ``point`` of a run."""
    return max(0, round(point * steps) - 1)
