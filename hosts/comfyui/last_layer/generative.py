"""ComfyUI host: generative uncertainty, M + 1 runs of KSampler from one noise with the last layer's weights drawn anew."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from einops import rearrange
from torch import Tensor

from ....core.demo.extractor import ARCHITECTURE, load_extractor
from ....core.last_layer.generative import ImageEncoder, check_images, count_rows, score_members
from ....core.last_layer.laplace import Laplace
from ....core.options import GenerativeOptions
from ....core.result import Uncertainty, clock
from ..demo import DemoDecoder
from ..model import SEVERAL_PARTS, process_of
from ..sampling.fingerprint import describe_model
from ..sampling.ksampler import KSample, Latent, Progress
from .laplace import posterior_of

log = logging.getLogger(__name__)
DIGITS_ONLY = (
    "The bundled feature extractor knows handwritten digits only, so these scores say little of other pictures; "
    "connect a CLIP_VISION to clip_vision."
)
DIGIT_SIZE = 32


@dataclass(frozen=True)
class Members:
    """The samplings of one estimate, counted: rows of every pass that reached the last layer."""

    sampling: KSample
    laplace: Laplace
    options: GenerativeOptions
    rows: list[int]
    progress: Progress

    def run(self, member: int | None, counts: bool = True) -> Latent:
        """A whole sampling with the member-th draw of the weights, or with the trained ones (None)."""
        model = self._drawn(self.sampling.model, member, counts)
        done = self.progress.done
        return replace(self.sampling, model=model).run(lambda i, denoised, x, steps: self._step(done + i + 1, denoised, x))

    def _drawn(self, model: ModelPatcher, member: int | None, counts: bool) -> ModelPatcher:
        """A clone with drawn weights for the time of a sampler's run: not longer, since ComfyUI may move weights before and after."""

        def sample(executor: Any, guider: Any, *args: Any, **kwargs: Any) -> Tensor:
            posterior = posterior_of(self.laplace, guider)
            with ExitStack() as run:
                rows = run.enter_context(count_rows(posterior.layer))
                if member is not None:
                    run.enter_context(posterior.sampled(self.options.seed, member))
                samples = executor(guider, *args, **kwargs)
            self.rows.extend(rows if counts else [])
            return samples

        model = model.clone()
        model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, f"uncertainty_laplace_{id(self)}", sample)
        return model

    def _step(self, done: int, denoised: Tensor, x: Tensor) -> None:
        self.progress.done = done
        self.progress.preview(done - 1, denoised, x, self.progress.total)


def sample_generative(
    sampling: KSample, laplace: Laplace, vae: Any, clip_vision: Any, options: GenerativeOptions
) -> tuple[Latent, Tensor, Uncertainty]:
    """What KSampler draws, bit for bit, its decoded images (B, H, W, 3), and their generative uncertainty.

    Cost: options.members x steps evaluations per image; with member_steps, (members + 1) x member_steps.
    Raises ValueError for a Laplace fit of another model, a latent of several parts, and what ``core.last_layer.generative`` refuses.
    """
    process_of(sampling.model.get_model_object("model_sampling"))
    if getattr(sampling.latent["samples"], "is_nested", False):
        raise ValueError(SEVERAL_PARTS)
    steps = len(sampling.sigmas()) - 1
    again = options.member_steps not in (0, sampling.steps)
    short = replace(sampling, steps=options.member_steps) if again else sampling
    member_steps, runs = len(short.sigmas()) - 1, options.members + again
    log.info("Generative uncertainty: %d further samplings of %d steps.", runs, member_steps)
    progress = Progress(sampling.model, steps + runs * member_steps)
    own = Members(sampling, laplace, options, [], progress)
    latent = own.run(None, counts=False)
    start, members = clock(latent["samples"]), replace(own, sampling=short)
    latents = [check_images(members.run(None)["samples"] if again else latent["samples"])]
    for member in range(options.members):
        latents.append(check_images(members.run(member)["samples"], latents[0]))
    seconds = clock(latents[0]) - start
    images = torch.stack([vae.decode(samples).movedim(-1, 1) for samples in latents])
    found = score_members(images, encoder(vae, clip_vision), laplace, options, sum(own.rows) / images.shape[1], seconds).result
    said = {"host": "comfyui", **describe_model(sampling.model), "steps": str(steps), **encoder_said(vae, clip_vision)}
    shown = vae.decode(latent["samples"]) if again else images[0].movedim(1, -1)
    return latent, shown.reshape(-1, *shown.shape[-3:]), replace(found, provenance=found.provenance | said).cpu()


def encoder(vae: Any, clip_vision: Any) -> ImageEncoder:
    """Images (B, 3, H, W) in [0, 1], or videos (B, 3, T, H, W), whose frames are averaged -> features (B, D)."""
    of_pictures = digit_features if clip_vision is None else lambda pictures: clip_vision.encode_image(pictures)["image_embeds"]
    if clip_vision is None and not isinstance(vae, DemoDecoder):
        log.warning(DIGITS_ONLY)

    def encode(images: Tensor) -> Tensor:
        pictures = rearrange(images if images.ndim == 5 else images[:, :, None], "b c t h w -> (b t) h w c")
        features = of_pictures(pictures)
        return features.reshape(len(images), -1, features.shape[-1]).mean(dim=1) if features.ndim == 2 else features

    return encode


def digit_features(pictures: Tensor) -> Tensor:
    """By the bundled extractor: (N, H, W, C) in [0, 1] -> (N, 64)."""
    grey = F.interpolate(pictures.float().mean(dim=-1)[:, None], (DIGIT_SIZE, DIGIT_SIZE), mode="area")
    return load_extractor().features(2 * grey.cpu() - 1)


def encoder_said(vae: Any, clip_vision: Any) -> dict[str, str]:
    if clip_vision is not None:
        return {"encoder": type(getattr(clip_vision, "model", clip_vision)).__name__}
    return {"encoder": ARCHITECTURE} | ({} if isinstance(vae, DemoDecoder) else {"caution": DIGITS_ONLY})
