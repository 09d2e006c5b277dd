"""ComfyUI host: sampling again, with another seed, until images are good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Any

import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....core.options import AleatoricOptions, Direction, DrawOptions, InformationOptions, Quantity, Scorer, UntilOptions
from ....core.result import Uncertainty
from ....core.search.until import Until, Verdict
from ....core.selection.calibration import Calibration
from ..batch import pick_latent
from ..estimate import estimate_latent
from ..information import prompt_information
from ..model import count_active
from ..sampling.ksampler import KSample, Latent, OnStep
from ..view.live import Live, LiveRun

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
        """Those images as one batch."""
        return join([self.images[v.attempt, v.index] for v in self.chosen])

    @property
    def report(self) -> str:
        return "\n".join(lines(self.until))


def sample_until(
    run: KSample,
    options: UntilOptions,
    measure: Callable[[Latent], Uncertainty],
    calibration: Calibration | None = None,
    previous: Scored | None = None,
    earlier: UntilOutcome | None = None,
    live: Live | None = None,
) -> UntilOutcome:
    """Attempt k draws what KSampler draws with ``derive_seed(options.seed, k)``.

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
    counted, passes = with_count(run.model)
    with ExitStack() as stack:
        watched: LiveRun | None = None
        while not until.done:
            before, attempt = sum(passes), until.attempts
            on_step = steps_of(told, attempt - first, steps, options.max_attempts)
            latent = replace(run, seed=until.seed, model=counted).run(on_step)
            result = measure(latent)
            keep(images, until.offer(result, nfe=sum(passes) - before), latent, result)
            if watched is None and live is not None:
                watched = stack.enter_context(follow(live, until, first, result.direction))
            if watched is not None:
                watched.add(attempt, None, result.scores)
            wanted = {(v.attempt, v.index) for v in until.best()}
            images = {place: image for place, image in images.items() if place in wanted}
    return UntilOutcome(until, images)


def follow(live: Live, until: Until, first: int, direction: Direction) -> AbstractContextManager[LiveRun]:
    """Attempts from ``first`` on; finished images have no noise level."""
    last = until.options.max_attempts - 1
    return live.follow(last + 1, "attempt", direction, until.limit, (first, last))


def keep(images: dict[tuple[int, int], Scored], verdicts: Sequence[Verdict], latent: Latent, result: Uncertainty) -> None:
    for v in verdicts:
        images[v.attempt, v.index] = pick_latent(latent, [v.index]), result.select([v.index])


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


def measure_by(run: KSample, scorer: Scorer, samples: int, levels: int) -> Callable[[Latent], Uncertainty]:
    """As Prompt Information and Uncertainty Estimator measure at their defaults, so that their calibrations hold here too.

    Raises ValueError for an odd number of samples with the scorer information.
    """
    if scorer is Scorer.INFORMATION:
        options = InformationOptions(DrawOptions(samples, antithetic=True), levels=levels)
        return lambda latent: prompt_information(run.model, run.positive, run.negative, latent, options).result
    aleatoric = AleatoricOptions(DrawOptions(samples), quantity=Quantity(scorer.value))
    return lambda latent: estimate_latent(run.model, run.positive, latent, aleatoric, levels)


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
    found = [f"{until.accepted} accepted of {wanted} wanted, after {until.attempts} attempts."]
    if not until.succeeded:
        found.append("Too few were accepted: the rest of the latent are the best of the others.")
    for v in until.verdicts:
        found.append(f"{'Earlier' if v.attempt < 0 else f'Attempt {v.attempt + 1}, seed {v.seed}'}, image {v.index + 1}: {v.reason}")
    return [*found, f"Network passes: {until.nfe:g}."]
