"""ComfyUI host: epistemic uncertainty of an ensemble's members, sampled by any stock sampler from a shared start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import torch
from torch import Tensor

from ....core.ensemble.estimate import After, Branches, branch_step, estimate_ensemble
from ....core.options import EnsembleOptions
from ..model import SEVERAL_PARTS, percent_to_sigma, process_of
from ..sampling.fingerprint import describe_model
from ..sampling.ksampler import RATIOS, KSample, Latent, Progress, fit_empty
from .branch import Branch
from .members import ModelEnsemble, join, joinable
from .samplers import GuiderPrediction, Rehearsal, rehearse


@dataclass
class Sampling:
    """One run of the node: ``core.ensemble.estimate``'s Advance.

    The samples that core passes on say only how many there are: each call runs the sampler from its start, and answers the
    evaluations before step ``first`` by what an earlier call has kept.
    """

    members: ModelEnsemble
    run: KSample
    sigmas: Tensor
    rehearsal: Rehearsal
    noise: Tensor
    image: Tensor
    progress: Callable[[int, Tensor, Tensor], None]
    shared: list[GuiderPrediction] = field(default_factory=list)

    def advance(self, x: Tensor, members: Sequence[int], first: int, last: int, after: After) -> tuple[Tensor, int]:
        chosen, batch, begins = [self.members.members[k] for k in members], len(self.noise), self.rehearsal.begins
        stop = begins[last] if last < len(begins) - 1 else None

        def on_step(i: int, x: Tensor, x0: Tensor) -> None:
            self.progress(i, x, x0)
            after(i, x, x0)

        branch = Branch(comfy.samplers.sampler_object(self.run.sampler_name), self.shared[: begins[first]], stop, on_step)
        guider = comfy.samplers.CFGGuider(chosen[0].model)
        guider.set_conds(join([member.positive or [] for member in chosen], batch), self.run.negative)
        guider.set_cfg(self.run.cfg)
        noise, image = (self.tiled(t, len(chosen)) for t in (self.noise, self.image))
        quiet = not comfy.utils.PROGRESS_BAR_ENABLED
        with same_random_numbers(self.sigmas.device):
            samples = guider.sample(noise, image, branch, self.sigmas.clone(), self.mask(len(chosen)), None, quiet, self.run.seed)
        if stop is not None:
            self.shared = [*branch.known, *branch.made]
        return samples.to(comfy.model_management.intermediate_device()), branch.passes

    def mask(self, count: int) -> Tensor | None:
        mask = self.run.latent.get("noise_mask")
        return mask if mask is None or count == 1 else self.tiled(comfy.utils.reshape_mask(mask, self.noise.shape), count)

    @staticmethod
    def tiled(x: Tensor, count: int) -> Tensor:
        return x if count == 1 else x.repeat(count, *[1] * (x.ndim - 1))


def same_random_numbers(device: torch.device) -> AbstractContextManager[None]:
    """Each run inside begins with the random state of outside, and leaves it so."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def sample_ensemble(ensemble: ModelEnsemble, run: KSample, options: EnsembleOptions) -> tuple[Latent, Branches, list[Latent]]:
    """What KSampler draws with one member, picked by the seed; how far the members part; what each of them draws.

    run.model: any member's. Members that differ in nothing but the text of one conditioning share a batch; the others, and all
    of them where the sampler adds noise, run one after another.
    Raises ValueError for a sampler that can't be branched, a member without conditioning, and what KSample refuses.
    """
    ensemble = ensemble.with_conditioning(run.positive)
    sigmas = run.sigmas()
    image = fit_empty(run.model, run.latent)
    if getattr(image, "is_nested", False):
        raise ValueError(SEVERAL_PARTS)
    sampling = run.model.get_model_object("model_sampling")
    process, noise = process_of(sampling), comfy.sample.prepare_noise(image, run.seed, run.latent.get("batch_index"))
    with same_random_numbers(sigmas.device):
        rehearsal = rehearse(run.sampler_name, run.model, sigmas, noise, run.seed)
    levels = [float(sigma) for sigma in sigmas]
    branch = branch_step(options.branch, levels, percent_to_sigma(sampling))
    alone = rehearsal.draws_noise or not joinable(ensemble.members) or random_inpainting(run)
    names = ensemble.distinct
    together = 1 if alone else members_at_once(run, len(set(names)), image)
    options, runs = replace(options, micro_batch=together), -(-len(set(names)) // together)
    bar = Progress(run.model, branch + runs * (len(levels) - 1 - branch))

    def progress(i: int, x: Tensor, x0: Tensor) -> None:
        bar.step(bar.done, x0, x, bar.total)

    advance = Sampling(ensemble, run, sigmas, rehearsal, noise, image, progress).advance
    branches = estimate_ensemble(advance, noise, names, levels, process, branch, options)
    host_info = {"host": "comfyui", **describe_model(run.model), "sampler": run.sampler_name}
    information, distance = (replace(u, provenance=u.provenance | host_info).cpu() for u in (branches.information, branches.distance))
    latents = [{**without_ratios(run.latent), "samples": samples} for samples in branches.samples]
    return latents[branches.base], replace(branches, information=information, distance=distance), latents


def members_at_once(run: KSample, members: int, image: Tensor) -> int:
    """How many may share a batch beside the whole model: ComfyUI would rather move weights out than say that memory is short."""
    model, rows = run.model, len(image) * (1 if run.cfg == 1 else 2)
    room = comfy.model_management.get_total_memory(model.load_device) - model.model_size() - comfy.model_management.extra_reserved_memory()
    fitting = (n for n in range(members, 1, -1) if model.model.memory_required([n * rows, *image.shape[1:]]) < room)
    return next(fitting, 1)


def without_ratios(latent: Latent) -> dict[str, Any]:
    return {name: value for name, value in latent.items() if name not in RATIOS}


def random_inpainting(run: KSample) -> bool:
    """Whether the sampler draws the noise of what a mask keeps for each row anew."""
    return "noise_mask" in run.latent and bool(comfy.samplers.sampler_object(run.sampler_name).inpaint_options.get("random"))
