"""ComfyUI host: measure inside a sampling run, where model, conditioning and hooks are in place, without sampling anything."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

Conditioning = list[list[Any]]


class Probe(comfy.samplers.Sampler):
    """In a sampler's place: ``measure`` is given the latent, which goes on as it is."""

    def sample(
        self,
        guider: comfy.samplers.CFGGuider,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Any = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        """The signature of ``comfy.samplers.Sampler``."""
        self.measure(guider, latent_image.float(), extra_args["model_options"])
        return latent_image

    def measure(self, guider: comfy.samplers.CFGGuider, latent: Tensor, options: dict[str, Any]) -> None:
        """guider: with inner_model, cfg and conds as the run has processed them. latent: (B, C, ...) float32, in the model's scale."""
        raise NotImplementedError


def run_in_place(
    model: ModelPatcher,
    conds: dict[str, Conditioning],
    samples: Tensor,
    sampler: comfy.samplers.Sampler,
    seed: int,
    mask: Tensor | None = None,
    cfg: float = 1.0,
) -> None:
    """A sampling run in which ``sampler`` sees the latents as they are."""
    guider = comfy.samplers.CFGGuider(model)
    guider.inner_set_conds(conds)
    guider.set_cfg(cfg)
    sigmas = torch.tensor([float(model.get_model_object("model_sampling").sigma_max), 0.0])
    guider.sample(torch.zeros_like(samples), samples, sampler, sigmas, mask, seed=seed)
