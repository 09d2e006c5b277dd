"""Every score under classifier-free guidance, on picked images of a kept sampling; where the two differ, of either prediction.

The sampler follows the mix, none + scale (cond - none). A score can redraw the conditional prediction, which is what the package measures,
or the mix, at twice the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.shared.methods import BAYESDIFF, DECU_STEPS, GENERATIVE, LEVELS
from uncertainty_nodes.benchmarks.shared.pool import DEFAULT, LAST, Chunk, Lab
from uncertainty_nodes.benchmarks.shared.trajectories import STEPS, Drawn
from uncertainty_nodes.core.denoiser import Denoiser, add_noise
from uncertainty_nodes.core.options import AleatoricOptions, DropoutOptions, EnsembleOptions, Quantity, StepWindow
from uncertainty_nodes.core.pixelwise import mc_dropout
from uncertainty_nodes.core.pixelwise.aleatoric import Recorder, estimate_aleatoric
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.core.schedule import SigmaWindow, levels
from uncertainty_nodes.hosts.diffusers.attach import denoiser
from uncertainty_nodes.hosts.diffusers.demo import NO_CLASS, conditions, sample
from uncertainty_nodes.hosts.diffusers.ensemble.decu import decu
from uncertainty_nodes.hosts.diffusers.ensemble.members import TableMembers
from uncertainty_nodes.hosts.diffusers.information import information
from uncertainty_nodes.hosts.diffusers.last_layer.bayesdiff import bayesdiff
from uncertainty_nodes.hosts.diffusers.last_layer.generative import generative
from uncertainty_nodes.hosts.diffusers.space import Space

CONDITIONAL, MIX = "conditional", "mix"
PREDICTIONS = (CONDITIONAL, MIX)


@dataclass(frozen=True, eq=False)
class Picked:
    """Images of one chunk at one scale. x0: (S, B, 1, H, W) by prediction."""

    lab: Lab
    scale: float
    noise: Tensor
    labels: Tensor
    images: Tensor
    sigmas: Tensor
    x0: dict[str, Tensor]

    @classmethod
    def of(cls, lab: Lab, chunk: Chunk, drawn: Drawn, places: Tensor) -> Picked:
        images = drawn.images[places]
        x0 = {CONDITIONAL: drawn.x0, MIX: drawn.followed}
        each = {name: values[:, places].unflatten(2, images.shape[1:]) for name, values in x0.items()}
        return cls(lab, drawn.scale, chunk.noise[places], chunk.labels[places], images, drawn.sigmas, each)

    @property
    def space(self) -> Space:
        return Space.of(self.lab.scheduler)

    def denoise(self, prediction: str) -> Denoiser:
        lab = self.lab
        given, without = (denoiser(lab.network, lab.scheduler, cond, len(self.images)) for cond in conditions(self.labels))
        if prediction == CONDITIONAL:
            return given

        def mix(x: Tensor, sigma: Tensor) -> Tensor:
            none = without(x, sigma)
            return none + self.scale * (given(x, sigma) - none)

        return mix

    def calls(self, prediction: str) -> int:
        return 1 if prediction == CONDITIONAL else 2


def redrawn(prediction: str, window: StepWindow, picked: Picked) -> dict[str, Uncertainty]:
    """Every quantity of the steps in a window, as a recorder beside the sampling measures them. x only centres what is not asked for."""
    options, process = AleatoricOptions(window=window), picked.space.process
    recorder, gate = Recorder(options, process), SigmaWindow.resolve(window, picked.space.percent_to_sigma)
    for step, sigma in enumerate(picked.sigmas.tolist()):
        if gate.is_active(sigma):
            x0, level = picked.x0[prediction][step], torch.full((len(picked.images),), sigma, device=picked.images.device)
            x = add_noise(x0, torch.zeros_like(x0), level, process)
            recorder.measure(picked.denoise(prediction), x, x0, level, step, picked.calls(prediction))
    return {quantity.value: recorder.result(quantity=quantity) for quantity in Quantity}


def finished(prediction: str, picked: Picked) -> dict[str, Uncertainty]:
    sigmas = levels(DEFAULT, LEVELS, picked.space.percent_to_sigma)
    options = AleatoricOptions(window=DEFAULT)
    found = estimate_aleatoric(picked.denoise(prediction), picked.images, sigmas, picked.space.process, options, picked.calls(prediction))
    return {"denoised, finished image": found}


def dropout(picked: Picked) -> Uncertainty:
    options, space = DropoutOptions(), picked.space
    sigmas = levels(options.window, LEVELS, space.percent_to_sigma)
    return mc_dropout.estimate_dropout(picked.lab.network, picked.denoise(CONDITIONAL), picked.images, sigmas, space.process, options)


def prompt_information(picked: Picked) -> Uncertainty:
    return information(picked.lab.network, picked.lab.scheduler, picked.images, *conditions(picked.labels)).result


def bayes_diff(picked: Picked) -> Uncertainty:
    lab = picked.lab
    with bayesdiff(lab.network, lab.subject.laplace, lab.scheduler, BAYESDIFF, picked.scale) as run:
        sample(lab.network, lab.scheduler, picked.noise, picked.labels, STEPS[picked.scale], picked.scale)
    return run.result()


def generative_uncertainty(picked: Picked) -> Uncertainty:
    lab, drawn = picked.lab, [picked.images]  # what is asked for first

    def draw(steps: int) -> Tensor:
        return drawn.pop() if drawn else sample(lab.network, lab.scheduler, picked.noise, picked.labels, steps, picked.scale)

    return generative(draw, STEPS[picked.scale], lab.network, lab.subject.laplace, lab.subject.judge.features, GENERATIVE)[1].result


def ensemble_disagreement(picked: Picked) -> Uncertainty:
    members = TableMembers(picked.lab.network, picked.lab.subject.ensemble, picked.labels, no_class=NO_CLASS)
    return decu(picked.lab.network, picked.lab.scheduler, picked.noise, members, DECU_STEPS, EnsembleOptions(), picked.scale).information


def both(method: Callable[[str, Picked], dict[str, Uncertainty]], picked: Picked) -> dict[str, Uncertainty]:
    """Of either prediction; named by it."""
    return {f"{name}, {prediction}": r for prediction in PREDICTIONS for name, r in method(prediction, picked).items()}


def of_window(window: StepWindow, where: str, picked: Picked) -> dict[str, Uncertainty]:
    found = both(lambda prediction, picked: redrawn(prediction, window, picked), picked)
    return {name.replace(",", f"{where},", 1): result for name, result in found.items()}


METHODS: dict[str, Callable[[Picked], dict[str, Uncertainty]]] = {
    "prompt information": lambda picked: {"prompt information": prompt_information(picked)},
    "redrawn": partial(of_window, DEFAULT, ""),
    "redrawn, last steps": partial(of_window, LAST, ", last steps"),
    "denoised, finished image": partial(both, finished),
    "MC dropout": lambda picked: {"MC dropout": dropout(picked)},
    "BayesDiff": lambda picked: {"BayesDiff": bayes_diff(picked)},
    "generative uncertainty": lambda picked: {"generative uncertainty": generative_uncertainty(picked)},
    "DECU": lambda picked: {"DECU": ensemble_disagreement(picked)},
}


def pairs(names: Iterable[str]) -> list[str]:
    """Methods that were measured of either prediction, by the name that they share."""
    names = list(names)
    shared = [name.removesuffix(f", {MIX}") for name in names if name.endswith(f", {MIX}")]
    return [name for name in shared if f"{name}, {CONDITIONAL}" in names]
