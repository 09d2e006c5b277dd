"""Every method of the pixel table: real images are noised, sampled from the middle of the schedule on, and a map is made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.shared.methods import BAYESDIFF, DECU_STEPS, GENERATIVE, dropout, prompt_information
from uncertainty_nodes.benchmarks.shared.pool import DEFAULT, LAST, Chunk, Lab
from uncertainty_nodes.core.ensemble.estimate import After, estimate_ensemble
from uncertainty_nodes.core.options import AleatoricOptions, EnsembleOptions, Quantity
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.hosts.diffusers.demo import attach, predict
from uncertainty_nodes.hosts.diffusers.ensemble.decu import BranchSampler
from uncertainty_nodes.hosts.diffusers.ensemble.members import TableMembers
from uncertainty_nodes.hosts.diffusers.last_layer.bayesdiff import bayesdiff
from uncertainty_nodes.hosts.diffusers.last_layer.generative import generative

RECONSTRUCTION = "reconstruction"  # the job that all others look at


@torch.no_grad()
def reconstruct(lab: Lab, chunk: Chunk, steps: int | None = None) -> Tensor:
    """Real images noised to T/2 and sampled from there with the second half of the steps, (B, C, H, W)."""
    scheduler, steps = lab.scheduler, steps or lab.steps
    scheduler.set_timesteps(steps, device=lab.device)
    timesteps = scheduler.timesteps[steps // 2 :]
    x = scheduler.add_noise(chunk.images, chunk.noise, timesteps[:1])
    for t in timesteps:
        x = scheduler.step(predict(lab.network, x, t, chunk.labels, 1.0), t, x).prev_sample
    return x


def recorded(lab: Lab, chunk: Chunk) -> dict[str, Tensor]:
    """The reconstruction, and both aleatoric maps in both windows, from one sampling."""
    found: dict[str, Tensor] = {}
    with ExitStack() as blocks:
        runs = {w: blocks.enter_context(attach(lab.network, lab.scheduler, record=AleatoricOptions(window=w))) for w in (DEFAULT, LAST)}
        images = reconstruct(lab, chunk)
    for window, where in ((DEFAULT, ""), (LAST, ", last steps")):
        for quantity in Quantity:
            found |= mapped(f"{quantity.value}{where}", runs[window].result(quantity))
    return found | {RECONSTRUCTION: images}


def mapped(name: str, result: Uncertainty) -> dict[str, Tensor]:
    """What the pixel table needs of a result, as tensors to keep: the map, high = bad, and NFE."""
    return {f"map {name}": result.bad_maps, f"nfe {name}": torch.tensor([result.nfe], dtype=torch.float64)}


def of_reconstruction(name: str, method: Callable[[Lab, Chunk], Uncertainty]) -> Callable[[Lab, Chunk, Tensor], dict[str, Tensor]]:
    """A method that looks at a finished image."""
    return lambda lab, chunk, images: mapped(name, method(lab, replace(chunk, images=images)))


def bayes_diff(lab: Lab, chunk: Chunk, images: Tensor) -> dict[str, Tensor]:
    """Carried from T/2 on; half as many uncertain steps as a whole run has."""
    with bayesdiff(lab.network, lab.subject.laplace, lab.scheduler, BAYESDIFF) as run:
        reconstruct(lab, chunk)
    return mapped("BayesDiff", run.result())


def generative_variance(lab: Lab, chunk: Chunk, images: Tensor) -> dict[str, Tensor]:
    """The variance over reconstructions with drawn weights, pixel by pixel; no features, so no judge."""
    drawn = [images]  # what is asked for first

    def draw(steps: int) -> Tensor:
        return drawn.pop() if drawn else reconstruct(lab, chunk, steps)

    found = generative(draw, lab.steps, lab.network, lab.subject.laplace, lambda x: x.flatten(1), GENERATIVE)[1]
    return mapped("generative uncertainty", found.result)


def ensemble_disagreement(lab: Lab, chunk: Chunk, images: Tensor) -> dict[str, Tensor]:
    """Each member on its own from T/2 on."""
    members = TableMembers(lab.network, lab.subject.ensemble, chunk.labels)
    sampler = BranchSampler.of(lab.network, lab.scheduler, DECU_STEPS, members, 1.0, None)
    half = DECU_STEPS // 2

    def advance(x: Tensor, who: Sequence[int], first: int, last: int, after: After) -> tuple[Tensor, int]:
        return sampler.advance(x, who, first + half, last + half, lambda i, x, x0: after(i - half, x, x0))

    x = sampler.scheduler.add_noise(chunk.images, chunk.noise, sampler.scheduler.timesteps[half : half + 1])
    with torch.no_grad():
        found = estimate_ensemble(advance, x, members.names, sampler.sigmas[half:], sampler.space.process, 0, EnsembleOptions(0.0))
    return mapped("DECU", found.information)


MAPS: dict[str, Callable[[Lab, Chunk, Tensor], dict[str, Tensor]]] = {
    "MC dropout": of_reconstruction("MC dropout", dropout),
    "prompt information": of_reconstruction("prompt information", prompt_information),
    "BayesDiff": bayes_diff,
    "generative uncertainty": generative_variance,
    "DECU": ensemble_disagreement,
}


def controls(images: Tensor, errors: Tensor) -> dict[str, Tensor]:
    """Maps that ask nothing of the model: from the reconstruction (B, C, H, W) alone, by chance, and the error itself."""
    generator = torch.Generator().manual_seed(0)
    return {
        "brightness (no model)": images,
        "greyness (no model)": 1 - images.square(),  # edges and faint strokes: neither ink nor background
        "random": torch.rand(images.shape, generator=generator),
        "oracle": errors.abs(),
    }
