"""Epistemic uncertainty of an ensemble: one trajectory for all up to a branch, then one for each member, and how far they part."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from ..denoiser import Process, check_latents
from ..draws import is_out_of_memory, step_generator
from ..options import EnsembleOptions
from ..result import Uncertainty, clock
from ..schedule import PercentToSigma
from .comparison import Comparison

log = logging.getLogger(__name__)

After = Callable[[int, Tensor, Tensor], None]


class Advance(Protocol):
    """A host's sampler: carries the samples of some members from level ``first`` to level ``last`` of the run.

    x: (len(members) * B, C, ...) in the order (members, B): row n belongs to members[n // B]. members: their indexes.
    after(i, x, x0): to be called once for each step i, with the samples at level i and the members' predictions from them.
    Returns the samples at level ``last`` and the number of network passes that it took, rows times passes a row. Keeps no
    state between calls: the same samples and members give the same result. ``members.ode_sampler`` makes one of denoisers.
    """

    def __call__(self, x: Tensor, members: Sequence[int], first: int, last: int, after: After) -> tuple[Tensor, int]: ...


@dataclass(frozen=True, eq=False)
class Branches:
    """What K members make of B images.

    information: I in nats, between 0 and log K. distance: the raw mean distance between members, which still ranks where I has
    reached log K. Both are of the same evaluations: their ``nfe``, those of the whole run, do not add up, nor do their seconds.
    samples: (K, B, C, ...) the finished ones. base: the member that ran the shared part; samples[base] is what it makes alone.
    """

    information: Uncertainty
    distance: Uncertainty
    samples: Tensor
    base: int


def branch_step(percent: float, sigmas: Sequence[float], percent_to_sigma: PercentToSigma) -> int:
    """How many steps are shared: those that begin before ``percent`` of the noise schedule has passed; never all of them.

    sigmas: the S + 1 levels of S steps. percent_to_sigma: fraction of the schedule passed (0 = noise) -> sigma.
    """
    level = percent_to_sigma(percent) * (1 + 1e-5) if percent > 0 else math.inf
    return min(sum(sigma > level for sigma in sigmas[:-1]), len(sigmas) - 2)


def estimate_ensemble(
    advance: Advance,
    latents: Tensor,
    members: Sequence[str],
    sigmas: Sequence[float],
    process: Process,
    branch: int,
    options: EnsembleOptions | None = None,
) -> Branches:
    """Sample B images with each of K members and compare what they make of every step after the first ``branch``.

    One member, picked by the seed, runs the first ``branch`` of S steps for all; from there each goes on alone.
    NFE, of the whole run: branch + K (S - branch). members: their names; equal names are one member, run once.
    latents: (B, C, ...) noise at level sigmas[0]; sigmas: S + 1 levels. Where a member fails at an image, with NaN, that image's
    score is NaN. Raises ValueError, in a sentence, for what cannot be run or compared. Source: Berry et al. 2024 (DECU).
    """
    options, sigmas = options or EnsembleOptions(), [float(sigma) for sigma in sigmas]
    check_run(latents, members, sigmas, branch)
    names = list(dict.fromkeys(members))
    order, distinct = [names.index(name) for name in members], [list(members).index(name) for name in names]
    comparison = Comparison(sigmas, process, options, order)
    start, last = clock(latents), len(sigmas) - 1
    base = int(torch.randint(len(members), (1,), generator=step_generator(options.seed, 0)))
    x, passes = advance(latents, [list(members).index(members[base])], 0, branch, lambda i, x, x0: None) if branch else (latents, 0)
    samples, more = advance_all(advance, x, distinct, comparison, branch, last)
    provenance = describe_ensemble(options, process) | {
        "members": ", ".join(members),
        "branch": f"step {branch} of {last}",
        "base": members[base],
    }
    results = comparison.results((passes + more) / len(latents), clock(latents) - start, provenance)
    return Branches(*results, samples[order], base)


def advance_all(advance: Advance, x: Tensor, members: Sequence[int], comparison: Comparison, first: int, last: int) -> tuple[Tensor, int]:
    """All members from the shared sample x (B, C, ...) on, ``micro_batch`` in a call: samples (len(members), B, C, ...), passes.

    Out of memory within a call's first step: half as many from there on, with a warning.
    Raises ValueError when a member changes the samples' shape.
    """
    done: list[Tensor] = []
    passes, size = 0, comparison.options.micro_batch or len(members)
    while len(done) < len(members):
        part = members[len(done) : len(done) + size]
        tiled, calls = x.repeat(len(part), *[1] * (x.ndim - 1)), comparison.calls
        try:
            ended, more = advance(tiled, part, first, last, partial(comparison.add, len(part)))
        except RuntimeError as error:
            if len(part) == 1 or comparison.calls > calls or not is_out_of_memory(error):
                raise
            size = len(part) // 2
            log.warning("Out of memory with %d members of the ensemble in a call: going on with %d.", len(part), size)
            continue
        if ended.shape != tiled.shape:
            raise ValueError(f"All members must keep the samples' shape {tuple(tiled.shape)}, got {tuple(ended.shape)}.")
        done.extend(ended.unflatten(0, (len(part), -1)))
        passes += more
    return torch.stack(done), passes


def check_run(latents: Tensor, members: Sequence[str], sigmas: Sequence[float], branch: int) -> None:
    """Raises ValueError, in a sentence, for a run that cannot be."""
    check_latents(latents)
    if not members:
        raise ValueError("The ensemble is empty: give at least one member, two to compare them.")
    if len(sigmas) < 2 or not all(math.isfinite(s) and s > 0 for s in sigmas[:-1]) or not 0 <= sigmas[-1] < math.inf:
        raise ValueError(f"sigmas must hold at least two finite levels, above 0 but for the last, got {sigmas}.")
    if not 0 <= branch < len(sigmas) - 1:
        raise ValueError(f"branch must leave at least one of {len(sigmas) - 1} steps to the members, got {branch!r}.")


def describe_ensemble(options: EnsembleOptions, process: Process) -> dict[str, str]:
    bandwidth = options.paide.bandwidth
    return {
        "method": "ensemble",
        "distance": options.paide.distance.value,
        "bandwidth": f"{bandwidth:g}" if bandwidth else "per dimension",
        "moment": options.moment.value,
        "weights": ", ".join(f"{w:g}" for w in options.weights) or "equal",
        "seed": str(options.seed),
        "process": process.value,
    }
