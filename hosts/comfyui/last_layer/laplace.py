"""ComfyUI host: fit a last-layer Laplace posterior, and take hold of it inside a sampling run, where the weights are in place."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import comfy.samplers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....core.denoiser import finite_rows
from ....core.guidance.inference_weights import normal
from ....core.last_layer.find import get_layer
from ....core.last_layer.fit import SampleNotFinite, add_batch, start_fit
from ....core.last_layer.laplace import Laplace, LayerPosterior
from ....core.last_layer.layer_algebra import Layer
from ....core.options import LaplaceOptions, check_whole
from ..model import Cond, Conditioned, check_latent, process_of
from ..sampling.probe import Conditioning, Probe, run_in_place
from .network_output import training

log = logging.getLogger(__name__)
Latent = dict[str, Any]
REGIONAL = ("area", "mask")


class Fitter(Probe):
    """Adds the latents that it is given to a fit."""

    def __init__(self, options: LaplaceOptions, layer: str, on_samples: Any) -> None:
        self.options, self.layer, self.on_samples = options, layer, on_samples
        self.fitted: Laplace | None = None

    def measure(self, guider: comfy.samplers.CFGGuider, latent: Tensor, options: dict[str, Any]) -> None:
        clean, model = latent, guider.inner_model
        denoise = conditioned_for_autograd(guider, guider.conds["positive"], options, "positive")
        if self.fitted is None:
            denoise.check_neighbours(clean, clean.new_full((len(clean),), float(model.model_sampling.percent_to_sigma(0.5))))
        loss = training(model.model_sampling, lambda _: denoise)
        if self.fitted is None:
            self.fitted = start_fit(model.diffusion_model, loss, clean, None, self.options, self.layer)
        layer = layer_in_place(guider, self.fitted.identity.name)
        with only_last(self.fitted.identity.name):
            self.fitted = add_batch(self.fitted, layer, loss, clean, None)
        self.on_samples(len(clean) * self.options.draws)


def fit_laplace(
    model: ModelPatcher,
    latents: Sequence[Latent],
    positives: Sequence[Conditioning],
    options: LaplaceOptions,
    layer: str = "",
    batch_size: int = 8,
) -> Laplace:
    """Fit to latents as if they were one stream; with one conditioning for all, or one for each LATENT of the list.

    Cost: options.draws network passes a sample, without a backward pass through the network.
    Samples with NaN, and those that give NaN in the last layer, are left out, which one line of the log tells.
    Raises ValueError for fewer than two samples that can be used, latents of another model, conditionings in parts, and
    what ``core.last_layer.fit`` refuses.
    """
    check_whole("batch_size", batch_size, 1)
    for latent in latents:
        check_latent(model, latent["samples"])
    count = sum(len(latent["samples"]) for latent in latents)
    if count < 2:
        raise ValueError(f"latents must hold at least 2 training samples for a Laplace fit, got {count}; encode more images.")
    if len(positives) not in (1, len(latents)):
        raise ValueError(f"positive must be one conditioning, or one for each of the {len(latents)} latents, got {len(positives)}.")
    process_of(model.get_model_object("model_sampling"))
    log.info("Fitting a Laplace posterior: %d samples x %d draws = %d model calls.", count, options.draws, count * options.draws)
    bar = comfy.utils.ProgressBar(count * options.draws)
    fitter = Fitter(options, layer, bar.update)
    failed, position = [], 0
    for i, latent in enumerate(latents):
        samples, positive = latent["samples"], positives[i if len(positives) > 1 else 0]
        failed += [position + row for row in add_latent(fitter, model, samples, positive, batch_size)]
        position += len(samples)
    if failed:
        numbers = ", ".join(str(index + 1) for index in sorted(failed))
        log.warning("Fit Last-Layer Laplace leaves out number %s of %d latents, which give NaN or infinite values.", numbers, count)
    if fitter.fitted is None or fitter.fitted.samples < 2:
        raise ValueError(
            f"A Laplace fit needs at least 2 latents that give no NaN or infinite values, got {count - len(failed)} of {count}; "
            "encode more images, or run the model in float32."
        )
    return fitter.fitted


def add_latent(fitter: Fitter, model: ModelPatcher, samples: Tensor, positive: Conditioning, size: int) -> list[int]:
    """Adds a latent in parts, each with its rows of the conditioning; a run reserves memory for all that it is given at once.

    Returns the rows that were left out: the fit is what it would be without them.
    """
    finite = finite_rows(samples)
    failed = (~finite).nonzero().flatten().tolist()
    waiting = finite.nonzero().flatten().tolist()
    while waiting:
        part = waiting[:size]
        before = 0 if fitter.fitted is None else fitter.fitted.samples
        conds = [rows_of(cond, part) for cond in positive]
        try:
            run_in_place(model, {"positive": conds}, samples[part], fitter, fitter.options.seed)
        except SampleNotFinite as error:
            failed.append(waiting.pop(error.index - before))
        else:
            waiting = waiting[size:]
    fitter.on_samples(len(failed) * fitter.options.draws)
    return failed


def rows_of(cond: list[Any], rows: Sequence[int]) -> list[Any]:
    """Of one part of a CONDITIONING that holds several rows, those that ComfyUI would repeat to these rows of a batch."""
    text, more = cond
    count = len(text) if torch.is_tensor(text) else 1
    if count == 1:
        return cond
    index = [row % count for row in rows]
    return [text[index], {k: v[index] if torch.is_tensor(v) and v.ndim and len(v) == count else v for k, v in more.items()}]


def conditioned_for_autograd(guider: comfy.samplers.CFGGuider, cond: Cond, options: dict[str, Any], name: str) -> Conditioned:
    """A denoiser in which autograd can start. Raises ValueError for a conditioning in parts."""
    check_whole_image(cond, name)
    return Conditioned(guider.inner_model, normal(cond), options)


def check_whole_image(cond: Cond, name: str) -> None:
    """Raises ValueError unless the conditioning is one network pass, over the whole image at every noise level."""
    partial = [key for key in (*REGIONAL, "timestep_start", "timestep_end") if any(part.get(key) is not None for part in cond)]
    if len(cond) != 1 or partial:
        seen = f"{len(cond)} parts" if len(cond) != 1 else " and ".join(partial)
        raise ValueError(f"{name} must be one prompt for the whole image and all steps here, got one with {seen}; connect a plain prompt.")


@contextmanager
def only_last(name: str) -> Iterator[None]:
    """Weights behind the layer stop the gradient, with a message of torch's that is about something else."""
    try:
        yield
    except RuntimeError as error:
        if "Inference tensors" not in str(error):
            raise
        raise ValueError(f"layer {name!r} is not the last of this model: others with weights follow; leave layer empty.") from error


def posterior_of(laplace: Laplace, guider: comfy.samplers.CFGGuider) -> LayerPosterior:
    """The posterior on the model of a run. Raises ValueError for another model than the one fitted, or a layer that can't be varied."""
    if not isinstance(laplace, Laplace):
        raise ValueError(f"laplace must be a Laplace fit, not {type(laplace).__name__}; connect Fit or Load Last-Layer Laplace.")
    posterior = laplace.posterior(guider.inner_model.diffusion_model)
    layer_in_place(guider, laplace.identity.name)
    return posterior


def layer_in_place(guider: comfy.samplers.CFGGuider, name: str) -> Layer:
    """The layer, when its weights stay where they are during the run. Raises ValueError for quantised ones, and under LoRA hooks on it."""
    layer = get_layer(guider.inner_model.diffusion_model, name)
    if type(layer.weight.data) is not Tensor:
        raise ValueError(
            f"The weights of layer {name!r} are of the kind {type(layer.weight.data).__name__}, which cannot be varied; "
            "load the model in float16, bfloat16 or float8."
        )
    keys = [f"diffusion_model.{name}.{part}" for part in ("weight", "bias")]
    if any(key in patches for patches in guider.model_patcher.hook_patches.values() for key in keys):
        raise ValueError(f"A LoRA hook of the conditioning changes layer {name!r} during sampling; load the LoRA into the model instead.")
    return layer
