"""Tiny ensembles and their plain samplings, shared by the tests of ensembles and of what they compare."""

from __future__ import annotations

import torch
from torch import Tensor

from references import SIGMAS, ConvDenoiser
from uncertainty_nodes.core.denoiser import Process
from uncertainty_nodes.core.ensemble.estimate import estimate_ensemble
from uncertainty_nodes.core.ensemble.samplers import ode_sampler, one_by_one
from uncertainty_nodes.core.options import EnsembleOptions, PaideOptions

SHAPE = (3, 2, 4, 4)
LEVELS = {process: (*sigmas, 0.0) for process, sigmas in SIGMAS.items()}  # three steps
VP = LEVELS[Process.VP]


def noise(shape: tuple[int, ...] = SHAPE, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(2))


def networks(count: int) -> list[ConvDenoiser]:
    return [ConvDenoiser(SHAPE[1], seed=k).eval() for k in range(count)]


def names(count: int) -> list[str]:
    return [f"member {k}" for k in range(count)]


def options(**given) -> EnsembleOptions:
    return EnsembleOptions(**{"paide": PaideOptions(bandwidth=1.0)} | given)


def run(denoisers, x=None, sigmas=VP, process=Process.VP, branch=1, chosen=None, members=None):
    x = noise() if x is None else x
    members = names(len(denoisers)) if members is None else members
    return estimate_ensemble(ode_sampler(one_by_one(denoisers), sigmas, process), x, members, sigmas, process, branch, chosen or options())


def alone(denoise, x: Tensor, sigmas=VP, process=Process.VP) -> Tensor:
    """Plain sampling with one model."""
    return ode_sampler(one_by_one([denoise]), sigmas, process)(x, [0], 0, len(sigmas) - 1, lambda i, x, x0: None)[0]
