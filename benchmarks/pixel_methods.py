"""Every method of the pixel table: digits are noised, sampled from the middle of the schedule on, and a map is made of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import torch
from methods import dropout, prompt_information
from pool import DEFAULT, LAST, Chunk, Lab
from torch import Tensor

from uncertainty_nodes.core.options import AleatoricOptions, Quantity
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.hosts.demo import attach, predict

RECONSTRUCTION = "reconstruction"  # the job that all others look at


@torch.no_grad()
def reconstruct(lab: Lab, chunk: Chunk) -> Tensor:
    """The digits noised to T/2 and sampled from there with the second half of the steps, (B, 1, H, W)."""
    scheduler = lab.scheduler
    scheduler.set_timesteps(lab.steps)
    timesteps = scheduler.timesteps[lab.steps // 2 :]
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


MAPS: dict[str, Callable[[Lab, Chunk, Tensor], dict[str, Tensor]]] = {
    name: of_reconstruction(name, method) for name, method in {"MC dropout": dropout, "prompt information": prompt_information}.items()
}


def controls(images: Tensor, errors: Tensor) -> dict[str, Tensor]:
    """Maps that ask nothing of the model: from the reconstruction (B, 1, H, W) alone, by chance, and the error itself."""
    generator = torch.Generator().manual_seed(0)
    return {
        "brightness (no model)": images,
        "greyness (no model)": 1 - images.square(),  # edges and faint strokes: neither ink nor background
        "random": torch.rand(images.shape, generator=generator),
        "oracle": errors.abs(),
    }
