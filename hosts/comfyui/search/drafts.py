"""ComfyUI host: candidates that stop at a step, to be looked at, and are finished later from where they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.samplers
import torch
from torch import Tensor

from ....core.options import BestOfOptions, Scorer
from ....core.result import Uncertainty
from ....core.selection.ranks import best_first
from ..isolation import remember
from ..sampling.ksampler import KSample, Latent
from .best_of import BestOfSampler, CandidateSteps
from .candidate import Candidate
from .image_search import ComparedRows, ImageSearch
from .outcome import result_at
from .sample import chosen_latent, sample_candidates


@dataclass(frozen=True, eq=False)
class Drafts:
    """Candidates up to ``step`` of the run: of the first image all, then of the second, ...; ``options.candidates`` for each image.

    previews: what the model expects of each, a latent.  uncertainty: of each, as ``BestOfOptions.scorer`` measures it there.
    """

    run: KSample
    options: BestOfOptions
    candidates: tuple[Candidate, ...]
    step: int
    previews: Latent
    uncertainty: Uncertainty
    report: str

    @property
    def seeds(self) -> list[int]:
        return [candidate.seed for candidate in self.candidates]

    def best(self, keep: int) -> list[int]:
        """The ``keep`` best of each image by score, in the order of the images, best first; what failed comes last."""
        count = self.options.candidates
        badness = self.uncertainty.badness.unflatten(0, (-1, count))
        return [image * count + int(row) for image, each in enumerate(badness) for row in best_first(each)[:keep]]


def draft(run: KSample, options: BestOfOptions) -> Drafts:
    """Sample ``options.candidates`` of each image up to the first step at or past ``options.points[0]``, and score them.

    Beside ``options.scorer`` their steps tell the free scores, which an early stop can be learned from (``Uncertainty.further``).
    Raises what ``sample_best`` raises.
    """
    drafts: list[Drafts] = []

    options = replace(options, further=tuple(s for s in Scorer if s.free is not None and s is not options.scorer))

    def keep(searches: Sequence[ImageSearch], step: int) -> None:
        candidates = tuple(candidate for each in searches for candidate in each.candidates.values())
        result = result_at(searches, 0, searches[0].search.settings)
        drafts.append(Drafts(run, options, candidates, step, {}, result, describe(searches, step)))

    previews = sample_candidates(run, lambda inner, noise_of: DraftSampler(inner, run.sampler_name, options, (), noise_of, keep))
    images = [image for image in range(len(previews) // options.candidates) for _ in range(options.candidates)]
    return replace(drafts[0], previews=chosen_latent(run.latent, previews, images))


def finish(drafts: Drafts, chosen: Sequence[int]) -> Latent:
    """The finished images of the drafts with these numbers, in this order: bit for bit what KSampler draws with their seeds.

    The steps that the drafts have behind them cost no call of the network, unless a patch keeps tensors from call to call.
    """
    run, count = drafts.run, drafts.options.candidates
    order = sorted(set(chosen))

    def search(inner: comfy.samplers.Sampler, noise_of: Any) -> comfy.samplers.Sampler:
        return FinishSampler(inner, run.sampler_name, drafts, order, noise_of)

    samples = sample_candidates(run, search)
    places = [order.index(number) for number in chosen]
    return chosen_latent(run.latent, samples[places], [number // count for number in chosen])


def describe(searches: Sequence[ImageSearch], step: int) -> str:
    steps, count = len(searches[0].lane.sigmas) - 1, sum(len(each.candidates) for each in searches)
    passes, scoring = sum(each.lane.passes for each in searches), sum(each.comparisons[0].scores.rows for each in searches)
    candidates = [candidate for each in searches for candidate in each.candidates.values()]
    lines = [f"{count} drafts stand at step {step + 1} of {steps}.", f"Network passes: {passes} for sampling, {scoring} for comparing."]
    if anew := sum(not candidate.predictions for candidate in candidates):
        lines.append(f"A patch on the model keeps values from call to call: {anew} of them are sampled anew when they are finished.")
    return "\n".join(lines)


class DraftSampler(BestOfSampler):
    """Stops all candidates at one step; what it returns are their previews. tell: is given the searches and the step."""

    tell: Callable[[Sequence[ImageSearch], int], None]

    def draw(self, searches: Sequence[ImageSearch], told: CandidateSteps) -> Tensor:
        levels = searches[0].lane.sigmas.tolist()[:-1]
        edge = searches[0].search.edges[0]
        step = next((i for i, sigma in enumerate(levels) if sigma <= edge), len(levels) - 1)
        told.total = len(searches) * self.options.candidates * (step + 1)
        for each in searches:
            before = remember(each.lane.options, each.lane.guider.inner_model)
            each.advance(step)
            scores, seconds = each.score(lambda candidate: candidate.x0, levels[step])
            each.comparisons.append(ComparedRows(each.search.rows, scores, levels[step], self.options.points[0], seconds))
            for candidate in each.candidates.values():
                settle(candidate, before.tensors.keys())
        previews = torch.cat([candidate.x0 for each in searches for candidate in each.candidates.values()])
        self.tell(searches, step)
        return previews


def settle(candidate: Candidate, known: Any) -> None:
    """Where patches have kept tensors, which can't be kept beyond the run, the candidate is sampled anew when it is finished."""
    memory, candidate.patch_memory, candidate.free = candidate.patch_memory, None, None
    if memory is None or memory.tensors.keys() - known:
        candidate.predictions = []


class FinishSampler(BestOfSampler):
    """Finishes some drafts, which must come from the same run; returns them in their order."""

    def __init__(self, inner: comfy.samplers.Sampler, name: str, drafts: Drafts, chosen: Sequence[int], noise_of: Any) -> None:
        super().__init__(inner, name, drafts.options, (), noise_of)
        self.drafts, self.chosen = drafts, tuple(chosen)

    def draw(self, searches: Sequence[ImageSearch], told: CandidateSteps) -> Tensor:
        count, samples = self.options.candidates, []
        told.total = len(self.chosen) * (len(searches[0].lane.sigmas) - 1 - self.drafts.step)
        for image, each in enumerate(searches):
            rows = tuple(number % count for number in self.chosen if number // count == image)
            drafted = self.drafts.candidates[image * count : (image + 1) * count]
            each.candidates = {row: replace(drafted[row], predictions=list(drafted[row].predictions)) for row in rows}
            each.search.rows = rows
            each.micro_batch = 1  # those with and without predictions can't share a run
            each.advance(None)
            samples += [each.candidates[row].samples for row in rows]
        return torch.cat(samples)
