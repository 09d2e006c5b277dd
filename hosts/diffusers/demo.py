"""The bundled demo model on diffusers: a small class-conditional network that draws digits, a loop that samples it, and existing digits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, SchedulerMixin, UNet2DModel
from PIL import Image
from torch import Tensor

from ...core.demo.network import read_config, read_weights
from ...core.options import MAX_SEED, check_whole
from .attach import AttachedRun, attach
from .information import Cond

CLASSES = 10
NO_CLASS = 10  # the label that stands for "no condition"
SHAPE = (1, 32, 32)
SIZE = (SHAPE[2], SHAPE[1])  # Pillow's order


def load_demo(device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> tuple[UNet2DModel, DDIMScheduler]:
    """The bundled network, in eval mode, and a DDIM scheduler of its process. Latents are images in [-1, 1], (B, 1, 32, 32)."""
    config = read_config()
    network = UNet2DModel(**config["network"])
    network.load_state_dict(read_weights())
    network = network.to(device) if dtype == torch.float32 else network.to(device).to(dtype)
    return network.eval().requires_grad_(False), DDIMScheduler(**config["process"], clip_sample=config["clip_sample"])


def seed_of(seed: int, number: int) -> int:
    """Of image ``number`` of a run with ``seed``."""
    return ((seed << 20) + number) & MAX_SEED


def starting_noise(count: int, seed: int, first: int = 0) -> Tensor:
    """One (1, 32, 32) noise per image, each from its own seed: image ``first + i`` starts the same in every batch. (count, 1, 32, 32)"""
    check_whole("seed", seed, 0, MAX_SEED)
    generators = [torch.Generator("cpu").manual_seed(seed_of(seed, first + i)) for i in range(count)]
    return torch.stack([torch.randn(SHAPE, generator=g) for g in generators])


def conditions(labels: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The network's inputs for classes (B,), and for none, as prompt information compares them."""
    return {"class_labels": labels}, {"class_labels": torch.full_like(labels, NO_CLASS)}


@torch.no_grad()
def sample(
    network: UNet2DModel,
    scheduler: SchedulerMixin,
    noise: Tensor,
    labels: Tensor,
    steps: int = 50,
    guidance_scale: float = 1.0,
    generator: torch.Generator | list[torch.Generator] | None = None,
    watch: AbstractContextManager[AttachedRun] | None = None,
    progress: Callable[[int], Any] | None = None,
    after_step: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Draw one image per starting noise (B, 1, 32, 32) and class label (B,): (B, 1, 32, 32) in about [-1, 1].

    guidance_scale: 1 is the conditional model; above, classifier-free guidance with the label NO_CLASS.
    watch: an ``attach(...)`` block to sample inside of. progress: called with each finished step's number.
    generator: of the noise that a scheduler draws, or one for each image. after_step: sample after a step -> what the next one starts from.
    Raises ValueError for an empty batch, mismatched labels, or steps < 1.
    """
    if len(noise) == 0 or labels.shape != noise.shape[:1]:
        raise ValueError(f"Give one label per starting noise, at least one: got {len(noise)} noises and labels {tuple(labels.shape)}.")
    check_whole("steps", steps, 1, scheduler.config.num_train_timesteps)
    scheduler.set_timesteps(steps, device=noise.device)
    step_inputs = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    x = noise.to(network.dtype) * scheduler.init_noise_sigma
    with watch if watch is not None else nullcontext():
        for i, t in enumerate(scheduler.timesteps):
            output = predict(network, scheduler.scale_model_input(x, t), t, labels, guidance_scale)
            x = scheduler.step(output, t, x, **step_inputs).prev_sample
            if after_step is not None:
                x = after_step(x)
            if progress is not None:
                progress(i + 1)
    return x.float()


def predict(network: UNet2DModel, x: Tensor, t: Tensor, labels: Tensor, guidance_scale: float) -> Tensor:
    """The network's output, under classifier-free guidance when guidance_scale differs from 1."""
    if guidance_scale == 1:
        return network(x, t, class_labels=labels).sample
    both = torch.cat([torch.full_like(labels, NO_CLASS), labels])
    none, cond = network(torch.cat([x, x]), t, class_labels=both).sample.chunk(2)
    return none + guidance_scale * (cond - none)


class DemoModel:
    """The bundled network as an ``ImageModel``. It knows white digits on black."""

    def __init__(self, device: str = "cpu") -> None:
        self.network, self.scheduler = load_demo(device)
        self.device = device

    def fitted(self, picture: Image.Image) -> Image.Image:
        picture = picture.convert("L")
        return picture if picture.size == SIZE else picture.resize(SIZE, Image.Resampling.BICUBIC)

    def encode(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Latents are the pixels, in [-1, 1]."""
        pixels = torch.from_numpy(np.stack([np.asarray(p) for p in pictures]))
        return (pixels.float() / 127.5 - 1)[:, None].to(self.device)

    def conditions(self, latents: Tensor, labels: Sequence[int | None]) -> tuple[Cond, Cond]:
        """Raises ValueError where a class is missing."""
        if any(label is None for label in labels):
            raise ValueError("The demo model needs the class of every image, 0 to 9.")
        return conditions(torch.tensor(labels, device=latents.device))


__all__ = ["CLASSES", "NO_CLASS", "DemoModel", "attach", "load_demo", "sample", "starting_noise"]
