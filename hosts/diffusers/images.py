"""diffusers host: score existing images under a saved text-to-image pipeline, from pixels and a prompt to one number an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from PIL import Image
from torch import Tensor, nn

from ...core.options import AleatoricOptions, InformationOptions
from ...core.result import Uncertainty
from .attach import score
from .information import Cond, describe_model, information
from .load import SD3, SDXL, Setup, load_pipeline


class ImageModel(Protocol):
    """A denoising network, and how images and their conditions become its inputs."""

    @property
    def network(self) -> nn.Module: ...

    @property
    def scheduler(self) -> SchedulerMixin: ...

    def fitted(self, picture: Image.Image) -> Image.Image:
        """The picture as the model can take it; itself when nothing has to change but its colours."""

    def encode(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Fitted pictures of one size -> latents (B, C, H, W)."""

    def conditions(self, latents: Tensor, labels: Sequence[int | None]) -> tuple[Cond, Cond]:
        """The network's other inputs with the condition and with the one that stands for none."""


def measure(
    model: ImageModel,
    pictures: Sequence[Image.Image],
    labels: Sequence[int | None],
    options: AleatoricOptions | InformationOptions,
    levels: int,
) -> tuple[Uncertainty, Tensor | None]:
    """Score fitted pictures of one size; beside it the standard error (B,) where the score has one.

    levels: of the window, for AleatoricOptions, which name none. Raises what ``score`` and ``information`` raise.
    """
    latents = model.encode(pictures)
    cond, empty = model.conditions(latents, labels)
    if isinstance(options, InformationOptions):
        info = information(model.network, model.scheduler, latents, cond, empty, options)
        return info.result.cpu(), info.standard_error.cpu()
    result = score(model.network, model.scheduler, latents, cond, options, levels)
    return replace(result, provenance=result.provenance | describe_model(model.network)).cpu(), None


@dataclass(frozen=True)
class PipelineModel:
    """What is left of a pipeline when its prompts are encoded. cond, empty: the network's inputs for one image."""

    network: nn.Module
    scheduler: SchedulerMixin
    vae: Any
    cond: Cond
    empty: Cond
    unit: int  # sides of an image are multiples of it
    sized: bool  # whether the network is told the image's size, as SDXL
    device: torch.device  # where it computes: a part that is offloaded lies elsewhere meanwhile

    def fitted(self, picture: Image.Image) -> Image.Image:
        width, height = (max(side - side % self.unit, self.unit) for side in picture.size)
        picture = picture.convert("RGB")
        return picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.LANCZOS)

    @torch.no_grad()
    def encode(self, pictures: Sequence[Image.Image]) -> Tensor:
        """The most likely latent, not a draw: an image has one score."""
        pixels = torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2)
        weight = next(self.vae.parameters())
        latents = self.vae.encode(pixels.to(self.device, weight.dtype) / 127.5 - 1).latent_dist.mode()
        return scale_latents(latents, self.vae.config)

    def conditions(self, latents: Tensor, labels: Sequence[int | None]) -> tuple[Cond, Cond]:
        """labels are not looked at: every image shares the prompt."""
        return self.inputs(self.cond, latents), self.inputs(self.empty, latents)

    def inputs(self, cond: Cond, latents: Tensor) -> Cond:
        """Encoded prompts, one for all or one for each of these latents, as the network takes them."""
        rows = {name: value.expand(len(latents), *value.shape[1:]) for name, value in cond.items()}
        if not self.sized:
            return rows
        height, width = (side * 2 ** (len(self.vae.config.block_out_channels) - 1) for side in latents.shape[2:])
        # the image's own size, not cropped, as the pipeline says of what it draws
        sizes = torch.tensor([[height, width, 0, 0, height, width]] * len(latents)).to(rows["text_embeds"])
        hidden = rows.pop("encoder_hidden_states")
        return {"encoder_hidden_states": hidden, "added_cond_kwargs": {**rows, "time_ids": sizes}}


def scale_latents(latents: Tensor, config: Any) -> Tensor:
    """A VAE's latents in the units that the network was trained on."""
    mean, deviation = (config.get(name) for name in ("latents_mean", "latents_std"))
    if mean is not None and deviation is not None:
        mean, deviation = (latents.new_tensor(v).view(1, -1, 1, 1) for v in (mean, deviation))
        return (latents - mean) * config["scaling_factor"] / deviation
    return (latents - (config.get("shift_factor") or 0.0)) * config["scaling_factor"]


def load_model(
    path: str | Path,
    prompt: str,
    negative: str = "",
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    setup: Setup | None = None,
) -> PipelineModel:
    """What ``load_pipeline`` loads, with its prompts encoded. Raises what that and ``prepare`` raise."""
    return prepare(load_pipeline(path, device, dtype, setup), prompt, negative)


def load_captioned(
    path: str | Path, device: str = "cpu", dtype: torch.dtype | None = None, setup: Setup | None = None, negative: str = ""
) -> Callable[[str], PipelineModel]:
    """The same for images with captions of their own: caption -> the model with it. Raises what ``load_model`` raises."""
    pipe = load_pipeline(path, device, dtype, setup)
    model = prepare(pipe, "", negative)
    return lambda caption: replace(model, cond=encode_prompts(pipe, caption, negative)[0])


def with_captions(models: Sequence[PipelineModel]) -> PipelineModel:
    """One model for a batch whose images have captions of their own: what ``load_captioned`` gave for each of them."""
    first = models[0]
    return replace(first, cond={name: torch.cat([model.cond[name] for model in models]) for name in first.cond})


def prepare(pipe: DiffusionPipeline, prompt: str, negative: str = "") -> PipelineModel:
    """Encode the prompts, and keep only what scoring needs. The VAE becomes float32. Raises what ``with_prompt`` raises."""
    model = with_prompt(pipe, prompt, negative)
    model.vae.float().eval().enable_slicing()  # encoding a whole batch at once would be the peak of memory
    return model


@torch.no_grad()
def with_prompt(pipe: DiffusionPipeline, prompt: str | list[str], negative: str = "") -> PipelineModel:
    """The same with the VAE left as it is, for latents that are there already; a prompt for all of them, or one for each.

    Raises ValueError for a network with further input channels.
    """
    network = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    if network.config.in_channels != pipe.vae.config.latent_channels:
        raise ValueError(
            f"{type(network).__name__} takes {network.config.in_channels} channels where the VAE has "
            f"{pipe.vae.config.latent_channels}: it needs more than an image; use the plain pipeline of this model."
        )
    cond, empty = encode_prompts(pipe, prompt, negative)
    unit = 2 ** (len(pipe.vae.config.block_out_channels) - 1) * (network.config.get("patch_size") or 1)
    return PipelineModel(network.eval(), pipe.scheduler, pipe.vae, cond, empty, unit, type(pipe).__name__ == SDXL, pipe._execution_device)


def encode_prompts(pipe: DiffusionPipeline, prompt: str | list[str], negative: str) -> tuple[Cond, Cond]:
    """As the pipeline does under guidance. An empty negative is None: for SDXL that may mean zeros."""
    names = {"prompt": prompt, "device": pipe._execution_device, "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
    names |= {"negative_prompt": negative or None} | ({"prompt_2": None, "prompt_3": None} if type(pipe).__name__ == SD3 else {})
    cond, empty, *pooled = pipe.encode_prompt(**names)
    name = {SDXL: "text_embeds", SD3: "pooled_projections"}.get(type(pipe).__name__)
    further = [{name: p} for p in pooled] if name else [{}, {}]
    return {"encoder_hidden_states": cond} | further[0], {"encoder_hidden_states": empty} | further[1]
