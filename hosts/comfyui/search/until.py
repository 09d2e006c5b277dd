"""ComfyUI host: sampling again, with another seed, until images are good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Any

import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....core.options import Direction, UntilOptions
from ....core.result import Uncertainty
from ....core.search.stopping import stop_options, stops_of
from ....core.search.until import Until, Verdict
from ....core.selection.calibration import Calibration
from ..batch import pick_latent
from ..model import count_active
from ..sampling.fingerprint import describe_model
from ..sampling.ksampler import KSample, Latent, OnStep
from ..view.live import Live, LiveRun
from .measuring import MeasuredLatent, Recorded
from .sample import sample_best

Scored = tuple[Latent, Uncertainty]  # one image, or a batch


@dataclass(frozen=True, eq=False)
class UntilOutcome:
    """A run so far, which ``sample_until`` can go on with. images: the best ones, by attempt and index."""

    until: Until
    images: Mapping[tuple[int, int], Scored]

    def enough(self, wanted: int) -> bool:
        return self.until.accepted >= wanted

    @property
    def chosen(self) -> list[Verdict]:
        """Of the wanted images: accepted ones as they came, then the best of the others."""
        return self.until.best()

    @property
    def best(self) -> Scored:
        """Those images as one batch. Raises IndexError where no image was finished."""
        return join([self.images[v.attempt, v.index] for v in self.chosen])

    @property
    def report(self) -> str:
        return "\n".join(lines(self.until))


def sample_until(
    run: KSample,
    options: UntilOptions,
    measure: MeasuredLatent | Recorded,
    calibration: Calibration | None = None,
    previous: Scored | None = None,
    earlier: UntilOutcome | None = None,
    live: Live | None = None,
    early: EarlyEnd | None = None,
) -> UntilOutcome:
    """Attempt k draws what KSampler draws with ``derive_seed(options.seed, k)``; with ``early`` as far as its images look hopeful.

    previous: the best images of another run, with scores, which are judged anew. earlier: a run to go on with: n rounds of one attempt
    are one run of n attempts. Only the best images so far are kept.
    live: is told the scores of each attempt. Raises what ``KSample.run``, ``measure`` and ``Until.offer`` raise.
    """
    steps, images = len(run.sigmas()) - 1, {} if earlier is None else dict(earlier.images)
    settings = {"steps": str(steps), "cfg": f"{run.cfg:g}"}
    until = Until(options, calibration, settings) if earlier is None else earlier.until.go_on(options, calibration)
    if previous is not None:
        keep(images, until.carry(previous[1]), *previous)
    first = until.attempts
    told = latent_preview.prepare_callback(run.model, steps * options.max_attempts)
    counted, passes = with_count(measure.watch(run))
    if early is not None:
        early.check(run, steps)
    with ExitStack() as stack:
        watched: LiveRun | None = None
        while not until.done:
            before, attempt = sum(passes), until.attempts
            seeded = replace(run, seed=until.seed)
            if early is None:
                on_step = steps_of(told, attempt - first, steps, options.max_attempts)
                latent = replace(seeded, model=counted).run(on_step)
                result, nfe, places = measure.of(latent), float(sum(passes) - before), None
            else:
                latent, result, nfe, places = early.draw(seeded, measure)
                until.stopped += len(run.latent["samples"]) - (0 if latent is None else len(latent["samples"]))
            if latent is None or result is None:
                until.pass_over(nfe)
                continue
            keep(images, until.offer(result, nfe, places), latent, result)
            if watched is None and live is not None:
                watched = stack.enter_context(follow(live, until, first, result.direction))
            if watched is not None:
                watched.add(attempt, None, result.scores)
            wanted = {(v.attempt, v.index) for v in until.best()}
            images = {place: image for place, image in images.items() if place in wanted}
    return UntilOutcome(until, images)


@dataclass(frozen=True)
class EarlyEnd:
    """Leaves an attempt on its way where earlier scores at a point call it hopeless. limit: as of the mode ``stop``, ``BestOfOptions``."""

    history: Calibration
    limit: float

    def check(self, run: KSample, steps: int) -> None:
        """Raises ValueError for a calibration of no point, or of another model, sampler, number of steps or CFG."""
        settings = {"host": "comfyui", **describe_model(run.model), "sampler": run.sampler_name, "steps": str(steps), "cfg": f"{run.cfg:g}"}
        stops_of(stop_options(self.history, self.limit), [self.history], settings)

    def draw(self, run: KSample, measure: MeasuredLatent | Recorded) -> tuple[Latent | None, Uncertainty | None, float, Sequence[int]]:
        """The images that were finished, with their scores, None where none was; the calls of all, and their places in the batch."""
        options = stop_options(self.history, self.limit)
        if isinstance(measure, Recorded):
            options = replace(options, further=(measure.free,))
        latent, found = sample_best(run, options, [self.history])
        if latent is None:
            return None, None, float(found.calls), ()
        result = measure.of_search(run, found) if isinstance(measure, Recorded) else measure.of(latent)
        return latent, result, float(found.calls), found.images


def follow(live: Live, until: Until, first: int, direction: Direction) -> AbstractContextManager[LiveRun]:
    """Attempts from ``first`` on; finished images have no noise level."""
    last = until.options.max_attempts - 1
    return live.follow(last + 1, "attempt", direction, until.limit, (first, last))


def keep(images: dict[tuple[int, int], Scored], verdicts: Sequence[Verdict], latent: Latent, result: Uncertainty) -> None:
    for i, v in enumerate(verdicts):
        images[v.attempt, v.index] = pick_latent(latent, [i]), result.select([i])


def steps_of(told: OnStep, attempt: int, steps: int, attempts: int) -> OnStep:
    """All attempts as one long run."""
    return lambda i, x0, x, _: told(attempt * steps + i, x0, x, attempts * steps)


def with_count(model: ModelPatcher) -> tuple[ModelPatcher, list[int]]:
    """A clone that writes down the passes of the network behind each prediction of a sampler."""
    passes: list[int] = []

    def count(args: dict[str, Any]) -> Tensor:
        level = float(args["sigma"].max())
        passes.append(len(args["input"]) * (count_active(args["cond"], level) + count_active(args["uncond"], level)))
        return args["denoised"]

    counted = model.clone()
    counted.set_model_sampler_post_cfg_function(count)
    return counted, passes


def join(images: Sequence[Scored]) -> Scored:
    """Single images as one batch."""
    latents, results = [latent for latent, _ in images], [result for _, result in images]
    shared = set.intersection(*(set(latent) for latent in latents))
    latent = {name: join_values([each[name] for each in latents]) for name in latents[0] if name in shared}
    maps, scores = torch.cat([r.maps for r in results]), torch.cat([r.scores for r in results])
    return latent, replace(results[0], maps=maps, scores=scores, curve=torch.cat([r.curve for r in results], dim=1))


def join_values(values: Sequence[Any]) -> Any:
    if all(isinstance(value, Tensor) and value.ndim for value in values):
        return torch.cat(list(values))
    return [x for value in values for x in value] if all(isinstance(value, list) for value in values) else values[0]


def lines(until: Until) -> list[str]:
    wanted = until.options.wanted
    early = [f"{until.stopped} images looked hopeless on their way and were not finished."] if until.stopped else []
    found = [f"{until.accepted} accepted of {wanted} wanted, after {until.attempts} attempts."]
    if not until.succeeded:
        found.append("Too few were accepted: the rest of the latent are the best of the others.")
    for v in until.verdicts:
        found.append(f"{'Earlier' if v.attempt < 0 else f'Attempt {v.attempt + 1}, seed {v.seed}'}, image {v.index + 1}: {v.reason}")
    return [*found, *early, f"Network passes: {until.nfe:g}."]
