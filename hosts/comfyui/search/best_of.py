"""ComfyUI host: a sampler that draws several candidates of each image with another sampler, and ends the worst early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import comfy.sample
import comfy.samplers
import torch
from torch import Tensor

from ....core.options import BestOfOptions, Scorer, SearchMode
from ....core.pixelwise.free import NO_GAP
from ....core.schedule import PercentToSigma
from ....core.search.best_of import Search
from ....core.search.scoring import DIRECTION_OF_SCORER, Scores
from ....core.search.seeds import derive_seed
from ....core.selection.calibration import Calibration
from ..ensemble.sample import same_random_numbers
from ..ensemble.samplers import Rehearsal, rehearse
from ..model import SEVERAL_PARTS, percent_to_sigma, process_of
from ..patch import Run as PatchRun
from ..sampling.fingerprint import describe_model
from ..sampling.record import Record
from ..view.live import Live
from .candidate import Lane
from .conditions import conditions_of, cut_rows, for_image
from .fresh_noise import check_fresh_noise
from .image_search import ComparedRows, ImageSearch
from .outcome import SearchOutcome

NoiseOfImage = Callable[[int, int], Tensor]  # image, candidate -> (1, C, ...); see candidate.NoiseOf
NOT_RECORDED = "The run drew several candidates of each image, which a record can't tell apart: take the uncertainty of the search itself."
SAME_NOISE = (
    "This run adds no noise, and neither does sampler {!r}: its {} candidates would all be one image. Connect RandomNoise to noise (with "
    "SamplerCustom turn add_noise on), choose a sampler that adds noise, such as euler_ancestral, or set candidates to 1."
)


class BestOfSampler(comfy.samplers.Sampler):
    """In a sampler's place. inner: what draws each candidate; name: what errors call it.

    noise_of: of the candidates. When left out the first of each image has the run's own noise, and the others that of their seeds.
    tell: is given the outcome, and the samples as the run returns them, images in the order of the batch, each one's best first.
    live: is told the scores of each comparison.
    Raises ValueError, in a run, for samplers that can't be stopped and resumed, and what ``Search`` and the scorers refuse.
    """

    def __init__(
        self,
        inner: comfy.samplers.Sampler,
        name: str,
        options: BestOfOptions,
        calibrations: Sequence[Calibration] = (),
        noise_of: NoiseOfImage | None = None,
        tell: Callable[[SearchOutcome, Tensor], None] = lambda outcome, samples: None,
        live: Live | None = None,
    ) -> None:
        self.inner, self.name, self.options, self.calibrations = inner, name, options, tuple(calibrations)
        self.noise_of, self.tell, self.live = noise_of, tell, live

    def sample(
        self,
        guider: comfy.samplers.CFGGuider,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        """The signature of ``comfy.samplers.Sampler``."""
        searches, told = self.prepare(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask)
        samples = self.draw(searches, told)
        leave_unrecorded(extra_args["model_options"])
        return samples

    def draw(self, searches: Sequence[ImageSearch], told: CandidateSteps) -> Tensor:
        """What the run returns; ``searches``: of each image of the batch, in its order, one or more."""
        with followed(self.live, searches):
            for before, each in zip([searches[0], *searches], searches, strict=False):
                each.micro_batch = min(each.micro_batch, before.micro_batch)  # memory is as short for the next image
                each.run()
            compare = any(s.search.needs_final_scores or not s.comparisons for s in searches)
            kept = [s.finish(compare) for s in searches]
        outcome, lane = SearchOutcome.of(searches, kept), searches[0].lane
        samples = torch.cat([lane.image[:0], *(s.candidates[row].samples for s, row in outcome.chosen)])
        told.end([s.candidates[row].denoised for s, row in outcome.chosen], samples)
        self.tell(outcome, lane.guider.inner_model.process_latent_out(samples.to(torch.float32)))
        return samples

    def prepare(
        self,
        guider: comfy.samplers.CFGGuider,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor,
        denoise_mask: Tensor | None,
    ) -> tuple[list[ImageSearch], CandidateSteps]:
        """A search for each image of the batch, with nothing sampled yet."""
        if len(getattr(guider.inner_model, "latent_shapes", None) or ()) > 1:
            raise ValueError(SEVERAL_PARTS)
        process_of(guider.inner_model.model_sampling)  # refuse before anything is sampled
        if Scorer.CONDITION_GAP in self.options.scorers:
            check_guided(guider, extra_args["model_options"])
        resolve = percent_to_sigma(guider.inner_model.model_sampling)
        options = replace(self.options, seed=int(extra_args["seed"] or 0))
        rehearsal = self.rehearse(guider, sigmas, noise, options.seed)
        if options.candidates > 1 and not rehearsal.draws_noise and self.noise_of is None and not noise.any():
            raise ValueError(SAME_NOISE.format(self.name, options.candidates))
        micro_batch = 1 if rehearsal.draws_noise or self.draws_inpainting(denoise_mask) else options.micro_batch
        told = CandidateSteps(callback, len(noise) * planned_steps(options, sigmas, resolve))
        noise_of = self.noise_of or seeded_noise(noise, options.seed)
        settings = self.settings(guider, sigmas)
        searches = []
        for i in range(len(noise)):
            mask = None if denoise_mask is None else cut_rows(denoise_mask, i)
            cut, image = for_image(guider, i), latent_image[i : i + 1]
            noise_i = lambda number, i=i: noise_of(i, number)  # noqa: E731
            lane = Lane(self.inner, rehearsal, cut, extra_args["model_options"], sigmas, image, mask, noise_i, told.step)
            search = Search(options, resolve, self.calibrations, settings)
            searches.append(ImageSearch(search, lane, resolve, micro_batch))
        return searches, told

    def settings(self, guider: comfy.samplers.CFGGuider, sigmas: Tensor) -> dict[str, str]:
        """Of this run, what scores on its way depend on."""
        cfg = getattr(guider, "cfg", None)
        told = {"host": "comfyui", **describe_model(guider.model_patcher), "sampler": self.name, "steps": str(len(sigmas) - 1)}
        return told if cfg is None else told | {"cfg": f"{cfg:g}"}

    def rehearse(self, guider: comfy.samplers.CFGGuider, sigmas: Tensor, noise: Tensor, seed: int) -> Rehearsal:
        model = guider.model_patcher
        with same_random_numbers(sigmas.device):
            rehearsal = rehearse(self.name, model, sigmas, noise, seed, self.inner)
            if self.options.mode is SearchMode.RESAMPLE:
                check_fresh_noise(self.name, self.inner, model, sigmas, noise, seed)
        return rehearsal

    def draws_inpainting(self, mask: Tensor | None) -> bool:
        """Whether the sampler draws the noise of what a mask keeps for each row anew."""
        return mask is not None and bool(getattr(self.inner, "inpaint_options", {}).get("random"))


def check_guided(guider: comfy.samplers.CFGGuider, options: dict[str, Any]) -> None:
    """Raises ValueError where each step makes only the prediction with the prompt."""
    check_scale(getattr(guider, "cfg", None), options)
    if conditions_of(guider)[1] is None:
        raise ValueError(NO_GAP)


def check_scale(cfg: float | None, options: dict[str, Any]) -> None:
    """Raises ValueError where ComfyUI leaves out the prediction without the prompt."""
    if cfg == 1 and not options.get("disable_cfg1_optimization", False):
        raise ValueError(NO_GAP)


@contextmanager
def followed(live: Live | None, searches: Sequence[ImageSearch]) -> Iterator[None]:
    """Places are the points, in their order, then the finished images. Candidates of the next image come after those of the one before."""
    if live is None:
        yield
        return
    options = searches[0].search.options
    with live.follow(len(options.points) + 1, "point", DIRECTION_OF_SCORER[options.scorer], limit_of(searches[0].search)) as run:
        for image, each in enumerate(searches):
            each.on_compared = lambda compared, image=image: run.add(*place_scores(compared, options, image))
        yield


def place_scores(compared: ComparedRows, options: BestOfOptions, image: int) -> tuple[int, float, list[float | None]]:
    place = options.points.index(compared.percent) if compared.sigma else len(options.points)
    scores: list[float | None] = [None] * (image + 1) * options.candidates
    for row, score in zip(compared.rows, compared.scores.by[options.scorer].tolist(), strict=True):
        scores[image * options.candidates + row] = score
    return place, compared.sigma, scores


def limit_of(search: Search) -> float | None:
    """The score that ends a candidate, in the mode stop."""
    return search.stops[0].limit if search.stops else None


def leave_unrecorded(options: dict[str, Any]) -> None:
    for run in (value for value in options.values() if isinstance(value, PatchRun)):
        run.evaluations, run.refusal = 1, NOT_RECORDED


def seeded_noise(noise: Tensor, seed: int) -> NoiseOfImage:
    """The run's own noise for the first candidate; for the others what RandomNoise makes of their seeds, of the whole batch.

    A run without noise, as the second half of another, has none for any.
    """

    def noise_of(image: int, number: int) -> Tensor:
        if number == 0 or not noise.any():
            return noise[image : image + 1]
        return comfy.sample.prepare_noise(noise, derive_seed(seed, number))[image : image + 1]

    return noise_of


def planned_steps(options: BestOfOptions, sigmas: Tensor, resolve: PercentToSigma) -> int:
    """Steps of all candidates of an image together; the most there can be where calibrations decide."""
    levels = sigmas.tolist()[:-1]
    if options.mode is SearchMode.STOP:
        return options.candidates * len(levels)
    search, total = Search(options, resolve), 0
    for sigma in levels:
        total += len(search.rows)
        if search.due(sigma):
            search.select(Scores({s: torch.arange(float(len(search.rows))) for s in options.scorers}), sigma)
    return total


class CandidateSteps:
    """Tells the run's own callback of each step of each candidate, as one long run."""

    def __init__(self, callback: Callable[[int, Tensor, Tensor, int], None] | None, total: int) -> None:
        self.callback, self.total, self.done = callback, total, 0

    def step(self, x0: Tensor, x: Tensor) -> None:
        self.done = min(self.done + len(x0), self.total - 1)
        if self.callback is not None:
            self.callback(self.done - 1, x0, x, self.total)

    def end(self, denoised: list[Tensor], samples: Tensor) -> None:
        if self.callback is not None and denoised:
            self.callback(self.total - 1, torch.cat(denoised), samples, self.total)


def sampler_name_of(sampler: comfy.samplers.Sampler) -> str:
    """What a person calls a SAMPLER: its function, or its class."""
    function = getattr(sampler, "sampler_function", None)
    return getattr(function, "__name__", type(sampler).__name__).removeprefix("sample_").removesuffix("_function")


def best_of_sampler(inner: comfy.samplers.Sampler, options: BestOfOptions) -> tuple[BestOfSampler, Record]:
    """For custom sampling, and where its runs leave the scores of what came out, with the seeds."""
    record = Record()

    def keep(found: SearchOutcome, samples: Tensor) -> None:
        if (told := found.uncertainty) is not None:
            seeds = ", ".join(map(str, found.seeds))
            record.keep(samples, replace(told, provenance=told.provenance | {"seeds": seeds}))

    return BestOfSampler(inner, sampler_name_of(inner), options, tell=keep), record
