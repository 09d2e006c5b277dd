"""diffusers host: images drawn batch by batch from seeds of their own, and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import DiffusionPipeline, SchedulerMixin, UNet2DModel
from torch import Tensor, nn

from ...core.demo.extractor import load_extractor
from ...core.last_layer.generative import ImageEncoder
from ...core.last_layer.laplace import Laplace
from ...core.options import (
    AleatoricOptions,
    BayesDiffOptions,
    DropoutOptions,
    FreeOptions,
    GenerativeOptions,
    InformationOptions,
    Request,
)
from ...core.options.limits import MAX_SEED
from ...core.result import Uncertainty
from .attach import AttachedRun, attach
from .demo import conditions, load_demo, sample, seed_of, starting_noise
from .dropout import DropoutRun, mc_dropout
from .images import with_prompt
from .information import Cond, information
from .last_layer.bayesdiff import BayesDiffRun, bayesdiff
from .last_layer.generative import generative, pipeline_draw
from .load import Setup, load_pipeline
from .search.best_of import Candidates, DigitCandidates, PipelineCandidates
from .search.settings import describe_sampling
from .watch import network_of


class Drawer(Protocol):
    """A model, and what each image is to show.

    target, scheduler: what the estimators watch.  guidance: of a bare network, whose pipeline can't be asked; else None.
    """

    @property
    def target(self) -> DiffusionPipeline | nn.Module: ...

    @property
    def scheduler(self) -> SchedulerMixin | None: ...

    @property
    def guidance(self) -> float | None: ...

    def draw(self, numbers: Sequence[int], steps: int) -> tuple[Tensor, Tensor]:
        """The images of these numbers (B, 1 or 3, H, W) in [0, 1], and their latents; none depends on which others are drawn beside it."""

    def conditions(self, numbers: Sequence[int], latents: Tensor) -> tuple[Cond, Cond]:
        """The network's other inputs for these images: what they are to show, and what stands for nothing asked."""


@dataclass(frozen=True)
class DemoDrawer:
    """labels: of image 0, 1, 2, .., in turn."""

    target: UNet2DModel
    scheduler: SchedulerMixin
    labels: Sequence[int]
    seed: int
    guidance: float = 1.0

    @classmethod
    def load(cls, labels: Sequence[int], seed: int, guidance: float | None, device: str) -> DemoDrawer:
        return cls(*load_demo(device), labels, seed, 1.0 if guidance is None else guidance)

    def draw(self, numbers: Sequence[int], steps: int) -> tuple[Tensor, Tensor]:
        labels = self.requested(numbers)
        noise = torch.cat([starting_noise(1, self.seed, number) for number in numbers]).to(labels.device)
        latents = sample(self.target, self.scheduler, noise, labels, steps, self.guidance)
        return self.as_images(latents), latents

    def candidates(self, number: int, steps: int) -> Candidates:
        """For a search of one image among several: that of the seed ``seed_of`` is the image as ``draw`` gives it."""
        return DigitCandidates(self.target, self.scheduler, int(self.requested([number])), steps, self.guidance)

    def as_images(self, result: Tensor) -> Tensor:
        return result.add(1).div(2).clamp(0, 1)

    def conditions(self, numbers: Sequence[int], latents: Tensor) -> tuple[Cond, Cond]:
        return conditions(self.requested(numbers))

    def seed_of(self, number: int) -> int:
        return seed_of(self.seed, number)

    def groups(self, numbers: Sequence[int]) -> list[list[int]]:
        """All at once: digits are of one size."""
        return [list(numbers)]

    def requested(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor([self.labels[number % len(self.labels)] for number in numbers], device=next(self.target.parameters()).device)


@dataclass(frozen=True)
class PipelineDrawer:
    """requests: of image 0, 1, 2, .., in turn.  settings: what else the pipeline's call is given."""

    target: DiffusionPipeline
    requests: Sequence[Request]
    seed: int
    settings: dict[str, Any]
    scheduler: None = None
    guidance: None = None

    @classmethod
    def load(
        cls,
        path: str | Path,
        requests: Sequence[Request],
        seed: int,
        settings: dict[str, Any],
        device: str,
        dtype: torch.dtype | None = None,
        setup: Setup | None = None,
    ) -> PipelineDrawer:
        """Raises what ``load_pipeline`` raises."""
        pipe = load_pipeline(path, device, dtype, setup)
        pipe.set_progress_bar_config(disable=True)
        return cls(pipe, requests, seed, settings)

    def draw(self, numbers: Sequence[int], steps: int) -> tuple[Tensor, Tensor]:
        latest: dict[str, Tensor] = {}

        def look(pipe: DiffusionPipeline, step: int, t: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            latest["latents"] = tensors["latents"]
            return {}

        inputs = {**self.inputs(numbers), "callback_on_step_end": look}
        images = pipeline_draw(self.target, inputs, [self.seed_of(number) for number in numbers])(steps)
        return self.as_images(images), latest["latents"]

    def candidates(self, number: int, steps: int) -> Candidates:
        """For a search of one image among several, as ``DemoDrawer.candidates``."""
        inputs = {name: value[0] if isinstance(value, list) else value for name, value in self.inputs([number]).items()}
        config: Any = network_of(self.target).config
        sides = [inputs.get(name, config.sample_size * self.shrink) // self.shrink for name in ("height", "width")]
        latents = torch.empty(1, config.in_channels, *sides)  # of which the size counts
        inputs |= {"num_inference_steps": steps, "output_type": "pt"}
        return PipelineCandidates(self.target, inputs, self.conditions([number], latents)[1])

    def inputs(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Of the pipeline's call, for images of one size."""
        requests = [self.request(number) for number in numbers]
        negatives = [self.settings.get("negative_prompt") if r.negative is None else r.negative for r in requests]
        inputs = {**self.settings, "prompt": [request.prompt for request in requests]}
        if any(negative is not None for negative in negatives):
            inputs["negative_prompt"] = [negative or "" for negative in negatives]
        if requests[0].size is not None:
            inputs["width"], inputs["height"] = requests[0].size
        return inputs

    @property
    def shrink(self) -> int:
        """Pixels for each of the latent's, along a side."""
        vae: Any = self.target.vae
        return 2 ** (len(vae.config.block_out_channels) - 1)

    def as_images(self, result: Tensor) -> Tensor:
        return result.float()

    def conditions(self, numbers: Sequence[int], latents: Tensor) -> tuple[Cond, Cond]:
        """Without the negative prompt: it says how to draw, not what."""
        return with_prompt(self.target, [self.request(number).prompt for number in numbers]).conditions(latents, [])

    def request(self, number: int) -> Request:
        return self.requests[number % len(self.requests)]

    def seed_of(self, number: int) -> int:
        """The request's own, counted up each time that its turn comes."""
        own = self.request(number).seed
        return seed_of(self.seed, number) if own is None else (own + number // len(self.requests)) & MAX_SEED

    def groups(self, numbers: Sequence[int]) -> list[list[int]]:
        """What can be drawn in one call: images of one size, in the order of their first."""
        sizes: dict[tuple[int, int] | None, list[int]] = {}
        for number in numbers:
            sizes.setdefault(self.request(number).size, []).append(number)
        return list(sizes.values())


@dataclass(frozen=True)
class ScoredBy:
    """What images are scored by: the method's options; laplace and encode where it needs them."""

    options: InformationOptions | GenerativeOptions | BayesDiffOptions | DropoutOptions | AleatoricOptions | FreeOptions
    laplace: Laplace | None = None
    encode: ImageEncoder | None = None


def draw_scored(drawer: Drawer, numbers: Sequence[int], steps: int, by: ScoredBy) -> tuple[Tensor, Uncertainty]:
    """The images as ``drawer.draw`` gives them, and their uncertainty, whose provenance tells how they were drawn.

    Raises what the estimators raise.
    """
    images, result = _draw_scored(drawer, numbers, steps, by)
    network, scheduler = network_of(drawer.target), drawer.scheduler or drawer.target.scheduler
    guidance = getattr(drawer.target, "guidance_scale", None) if drawer.guidance is None else drawer.guidance
    return images, replace(result, provenance=result.provenance | describe_sampling(network, scheduler, steps, guidance))


def _draw_scored(drawer: Drawer, numbers: Sequence[int], steps: int, by: ScoredBy) -> tuple[Tensor, Uncertainty]:
    if isinstance(by.options, InformationOptions):
        images, latents = drawer.draw(numbers, steps)
        network = network_of(drawer.target)
        scheduler = drawer.scheduler or drawer.target.scheduler
        return images, information(network, scheduler, latents, *drawer.conditions(numbers, latents), by.options).result
    if isinstance(by.options, GenerativeOptions):
        if by.laplace is None or by.encode is None:
            raise ValueError("Generative uncertainty needs a Laplace fit and an image encoder: give ScoredBy laplace and encode.")
        images, generated = generative(lambda n: drawer.draw(numbers, n)[0], steps, drawer.target, by.laplace, by.encode, by.options)
        return images, generated.result
    doubled = None if drawer.guidance is None else drawer.guidance != 1
    watch: AbstractContextManager[BayesDiffRun | DropoutRun | AttachedRun]
    if isinstance(by.options, BayesDiffOptions):
        if by.laplace is None:
            raise ValueError("BayesDiff needs a Laplace fit: give ScoredBy laplace.")
        watch = bayesdiff(drawer.target, by.laplace, drawer.scheduler, by.options, drawer.guidance)
    elif isinstance(by.options, DropoutOptions):
        watch = mc_dropout(drawer.target, drawer.scheduler, by.options, doubled)
    else:
        watch = attach(drawer.target, drawer.scheduler, record=by.options, classifier_free=doubled, guidance_scale=drawer.guidance)
    with watch as run:
        images, _ = drawer.draw(numbers, steps)
    return images, run.result()


def bundled_encoder(images: Tensor) -> Tensor:
    """The features of the bundled classifier, of grey images (B, 1, 32, 32) in [0, 1]: (B, 64)."""
    return load_extractor().features(images.cpu() * 2 - 1)
