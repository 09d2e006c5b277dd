"""ComfyUI host: KSampler's work, with the best of several candidates for each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
from torch import Tensor

from ....core.options import BestOfOptions
from ....core.search.seeds import derive_seed
from ....core.selection.calibration import Calibration
from ..batch import pick_latent
from ..ensemble.sample import without_ratios
from ..model import SEVERAL_PARTS
from ..sampling.ksampler import KSample, Latent, fit_empty
from ..view.live import Live
from .best_of import BestOfSampler, NoiseOfImage
from .outcome import SearchOutcome


def sample_best(
    run: KSample, options: BestOfOptions, calibrations: Sequence[Calibration] = (), live: Live | None = None
) -> tuple[Latent | None, SearchOutcome]:
    """The best images of each image of the latent, and how they were found; no latent where none is left.

    Candidate i of an image is what KSampler draws with ``derive_seed(run.seed, i)`` of that image alone, as Latent From Batch cuts it out.
    live: is told the scores of each comparison.
    Raises ValueError for what ``KSample.sigmas`` and ``BestOfSampler`` refuse.
    """
    outcomes: list[SearchOutcome] = []

    def search(inner: comfy.samplers.Sampler, noise_of: NoiseOfImage) -> BestOfSampler:
        return BestOfSampler(inner, run.sampler_name, options, calibrations, noise_of, lambda outcome, _: outcomes.append(outcome), live)

    samples = sample_candidates(run, search)
    (outcome,) = outcomes
    if not outcome.chosen:
        return None, outcome
    return chosen_latent(run.latent, samples, outcome.images), outcome


def sample_candidates(run: KSample, search: Callable[[comfy.samplers.Sampler, NoiseOfImage], comfy.samplers.Sampler]) -> Tensor:
    """What a sampler of candidates makes of KSampler's inputs. search: given KSampler's sampler, and the noise of each candidate."""
    sigmas, image = run.sigmas(), fit_empty(run.model, run.latent)
    if getattr(image, "is_nested", False):
        raise ValueError(SEVERAL_PARTS)
    indexes = run.latent.get("batch_index") or range(len(image))

    def noise_of(i: int, number: int) -> Tensor:
        return comfy.sample.prepare_noise(image[i : i + 1], derive_seed(run.seed, number), [indexes[i]])

    guider = comfy.samplers.CFGGuider(run.model)
    guider.set_conds(run.positive, run.negative)
    guider.set_cfg(run.cfg)
    noise = comfy.sample.prepare_noise(image, run.seed, run.latent.get("batch_index"))
    callback = latent_preview.prepare_callback(run.model, len(sigmas) - 1)
    quiet = not comfy.utils.PROGRESS_BAR_ENABLED
    sampler = search(comfy.samplers.sampler_object(run.sampler_name), noise_of)
    samples = guider.sample(noise, image, sampler, sigmas, run.latent.get("noise_mask"), callback, quiet, run.seed)
    return samples.to(comfy.model_management.intermediate_device())


def chosen_latent(latent: Latent, samples: Tensor, images: Sequence[int]) -> dict[str, Any]:
    plain = without_ratios(latent)
    if list(images) != list(range(len(latent["samples"]))):
        plain = pick_latent(plain, images)
    return {**plain, "samples": samples}
