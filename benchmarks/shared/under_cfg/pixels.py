"""Maps of reconstructed images at any scale of classifier-free guidance, of either prediction, and those that cost no call."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.shared.methods import LEVELS
from uncertainty_nodes.benchmarks.shared.pixel_methods import RECONSTRUCTION, mapped
from uncertainty_nodes.benchmarks.shared.pool import DEFAULT, LAST, Chunk, Lab
from uncertainty_nodes.benchmarks.shared.trajectories import evaluate
from uncertainty_nodes.benchmarks.shared.under_cfg.images import CONDITIONAL, MIX, Picked, redrawn
from uncertainty_nodes.core.denoiser import x0_from_output
from uncertainty_nodes.core.options import DropoutOptions, FreeOptions, FreeScore, GapWeight
from uncertainty_nodes.core.pixelwise import mc_dropout
from uncertainty_nodes.core.pixelwise.free import FreeRecorder
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.core.schedule import levels
from uncertainty_nodes.hosts.diffusers.demo import conditions
from uncertainty_nodes.hosts.diffusers.information import information
from uncertainty_nodes.hosts.diffusers.space import Space

FREE = {
    "trajectory": FreeOptions(FreeScore.TRAJECTORY),
    "condition gap": FreeOptions(FreeScore.CONDITION_GAP),
    "condition gap of images": FreeOptions(FreeScore.CONDITION_GAP, weight=GapWeight.IMAGE),
}


@torch.no_grad()
def reconstructed(lab: Lab, chunk: Chunk, scale: float) -> Picked:
    """Real images noised to T/2 and sampled from there with the second half of the steps, every step's predictions kept."""
    scheduler, space, sigmas, given, mixed = lab.scheduler, Space.of(lab.scheduler), [], [], []
    scheduler.set_timesteps(lab.steps, device=lab.device)
    timesteps = scheduler.timesteps[lab.steps // 2 :]
    x = scheduler.add_noise(chunk.images, chunk.noise, timesteps[:1])
    for t in timesteps:
        sigma = space.sigma_at(t)
        parts = evaluate(lab.network, x, t, chunk.labels, scale)
        output = parts[0] if scale == 1 else parts[1] + scale * (parts[0] - parts[1])
        level = torch.full((len(x),), sigma, device=x.device)
        for kept, each in ((given, parts[0]), (mixed, output)):
            kept.append(x0_from_output(each, x, level, space.process, space.prediction))
        sigmas.append(sigma)
        x = scheduler.step(output, t, x).prev_sample
    x0 = {CONDITIONAL: torch.stack(given), MIX: torch.stack(mixed)}
    return Picked(lab, scale, chunk.noise, chunk.labels, x, torch.tensor(sigmas), x0)


def maps(lab: Lab, chunk: Chunk, scale: float) -> dict[str, Tensor]:
    """Of one chunk: the reconstruction, and every map with its calls, high = bad."""
    picked = reconstructed(lab, chunk, scale)
    found = {RECONSTRUCTION: picked.images} | free(picked)
    for prediction in (CONDITIONAL,) if scale == 1 else (CONDITIONAL, MIX):
        name = "" if scale == 1 else f", {prediction}"
        for window, where in ((DEFAULT, ""), (LAST, ", last steps")):
            for quantity, result in redrawn(prediction, window, picked).items():
                found |= mapped(f"{quantity}{where}{name}", result)
    for method, estimate in OTHERS.items():
        found |= mapped(method, estimate(picked))
    return found


def free(picked: Picked) -> dict[str, Tensor]:
    """From the steps of the sampling alone; the reconstruction has none of the first half."""
    found: dict[str, Tensor] = {}
    for name, options in FREE.items():
        if picked.scale == 1 and options.score is FreeScore.CONDITION_GAP:
            continue
        recorder = FreeRecorder(options, picked.space.process)
        for step, sigma in enumerate(picked.sigmas.tolist()):
            given, mixed = picked.x0[CONDITIONAL][step], picked.x0[MIX][step]
            without = None if picked.scale == 1 else given + (mixed - given) / (1 - picked.scale)
            recorder.observe(mixed, given, without, torch.full((len(given),), sigma, device=given.device))
        found |= mapped(name, recorder.result())
    return found


def dropout(picked: Picked) -> Uncertainty:
    options = DropoutOptions()
    sigmas = levels(options.window, LEVELS, picked.space.percent_to_sigma)
    denoise = picked.denoise(CONDITIONAL)
    return mc_dropout.estimate_dropout(picked.lab.network, denoise, picked.images, sigmas, picked.space.process, options)


def prompt_information(picked: Picked) -> Uncertainty:
    return information(picked.lab.network, picked.lab.scheduler, picked.images, *conditions(picked.labels)).result


OTHERS: dict[str, Callable[[Picked], Uncertainty]] = {"MC dropout": dropout, "prompt information": prompt_information}
