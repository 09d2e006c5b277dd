"""Every method of the filtering table: how bad each image of a chunk is, and at what cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from uncertainty_nodes.benchmarks.shared.pool import DEFAULT, LAST, Chunk, Lab
from uncertainty_nodes.core.options import (
    AleatoricOptions,
    BayesDiffOptions,
    Direction,
    DrawOptions,
    DropoutOptions,
    EnsembleOptions,
    GenerativeOptions,
    StepWindow,
)
from uncertainty_nodes.core.pixelwise import mc_dropout
from uncertainty_nodes.core.result import Uncertainty
from uncertainty_nodes.core.schedule import levels
from uncertainty_nodes.hosts.diffusers.attach import denoiser, score
from uncertainty_nodes.hosts.diffusers.demo import NO_CLASS, conditions
from uncertainty_nodes.hosts.diffusers.ensemble.decu import decu
from uncertainty_nodes.hosts.diffusers.ensemble.members import TableMembers
from uncertainty_nodes.hosts.diffusers.information import information
from uncertainty_nodes.hosts.diffusers.last_layer.bayesdiff import bayesdiff
from uncertainty_nodes.hosts.diffusers.last_layer.generative import generative
from uncertainty_nodes.hosts.diffusers.space import Space

BAYESDIFF = BayesDiffOptions(DrawOptions(samples=5), every=5)  # the paper's skip variant, at as many calls as the aleatoric scores
GENERATIVE = GenerativeOptions(members=5, member_steps=10)
DECU_STEPS = 10
LEVELS = 4  # of a finished image, as many as sampling has steps in the default window


def prompt_information(lab: Lab, chunk: Chunk) -> Uncertainty:
    return information(lab.network, lab.scheduler, chunk.images, *conditions(chunk.labels)).result


def finished(window: StepWindow) -> Callable[[Lab, Chunk], Uncertainty]:
    """The spread of the denoised predictions of finished images, as Uncertainty Estimator and the score command take it."""

    def method(lab: Lab, chunk: Chunk) -> Uncertainty:
        return score(lab.network, lab.scheduler, chunk.images, {"class_labels": chunk.labels}, AleatoricOptions(window=window), LEVELS)

    return method


def dropout(lab: Lab, chunk: Chunk) -> Uncertainty:
    options, space = DropoutOptions(), Space.of(lab.scheduler)
    denoise = denoiser(lab.network, lab.scheduler, {"class_labels": chunk.labels}, len(chunk.images))
    sigmas = levels(options.window, LEVELS, space.percent_to_sigma)
    with torch.no_grad():
        return mc_dropout.estimate_dropout(lab.network, denoise, chunk.images, sigmas, space.process, options)


def bayes_diff(lab: Lab, chunk: Chunk) -> Uncertainty:
    with bayesdiff(lab.network, lab.subject.laplace, lab.scheduler, BAYESDIFF, lab.cfg) as run:
        lab.sample(chunk.noise, chunk.labels)
    return run.result()


def generative_uncertainty(lab: Lab, chunk: Chunk) -> Uncertainty:
    drawn = [chunk.images]  # what is asked for first

    def draw(steps: int) -> Tensor:
        return drawn.pop() if drawn else lab.sample(chunk.noise, chunk.labels, steps)

    return generative(draw, lab.steps, lab.network, lab.subject.laplace, lab.subject.judge.features, GENERATIVE)[1].result


def ensemble_disagreement(lab: Lab, chunk: Chunk) -> Uncertainty:
    """All of its calls are beyond plain sampling: the members draw images of their own."""
    members = TableMembers(lab.network, lab.subject.ensemble, chunk.labels, NO_CLASS)
    return decu(lab.network, lab.scheduler, chunk.noise, members, DECU_STEPS, EnsembleOptions(), lab.cfg).information


def asked(lab: Lab, name: str) -> dict[str, Any]:
    """What a measurement hangs on: the lab's options, and the fit or the ensemble where the method uses one."""
    with_fit, with_members = name in ("BayesDiff", "generative uncertainty"), name == "DECU"
    used = lab.subject.laplace.options if with_fit else lab.subject.ensemble.provenance if with_members else None
    return lab.options | ({"used": used} if used else {})


def of_images(name: str, badness: Tensor) -> Uncertainty:
    """A score that asks nothing of the model."""
    blank = badness.new_zeros(len(badness), 1)
    return Uncertainty(blank, badness, badness.new_zeros(0, len(badness)), torch.zeros(0), Direction.HIGH_IS_BAD, name, 0.0, 0.0)


def ink(lab: Lab, chunk: Chunk) -> Uncertainty:
    """How much is drawn, of photos how bright they are: knows nothing of the model. More counts as worse."""
    return of_images("ink", chunk.images.flatten(1).mean(dim=1))


def classifier(lab: Lab, chunk: Chunk) -> Uncertainty:
    """The judge's own doubt, 1 - p(asked class): the judge judging by itself, so the most that a score can reach."""
    return of_images("classifier", 1 - lab.subject.judged(chunk.images, chunk.labels)["asked"])


METHODS: dict[str, Callable[[Lab, Chunk], Uncertainty]] = {
    "prompt information": prompt_information,
    "denoised, finished image": finished(DEFAULT),
    "denoised, finished image, last steps": finished(LAST),
    "MC dropout": dropout,
    "BayesDiff": bayes_diff,
    "generative uncertainty": generative_uncertainty,
    "DECU": ensemble_disagreement,
    "ink (no model)": ink,
    "classifier (the judge itself)": classifier,
}
RECORDED = {  # while the pool is drawn
    "denoised": DEFAULT,
    "noise": DEFAULT,
    "denoised, last steps": LAST,
    "noise, last steps": LAST,
}
SAMPLING = {"BayesDiff"}  # samples once more beside what it adds
EXACT = {"BayesDiff", "DECU"}  # float32 always: draws and members are closer together than half precision can tell
CONTROLS = {"ink (no model)", "classifier (the judge itself)"}
