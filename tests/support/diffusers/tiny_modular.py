"""A real modular pipeline of diffusers (SDXL's own blocks) with random weights; prompts are embeddings, and latents come out."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import EulerDiscreteScheduler, ModularPipeline, SequentialPipelineBlocks
from diffusers.guiders import BaseGuidance
from diffusers.modular_pipelines.stable_diffusion_xl import before_denoise
from diffusers.modular_pipelines.stable_diffusion_xl.denoise import StableDiffusionXLDenoiseStep
from torch import Tensor

from tiny_pipelines import SIZE, STEPS, TOKENS, embeddings, unet, vae


class TextToLatents(SequentialPipelineBlocks):
    model_name = "stable-diffusion-xl"
    block_classes = [  # noqa: RUF012  diffusers' own way
        before_denoise.StableDiffusionXLInputStep,
        before_denoise.StableDiffusionXLSetTimestepsStep,
        before_denoise.StableDiffusionXLPrepareLatentsStep,
        before_denoise.StableDiffusionXLPrepareAdditionalConditioningStep,
        StableDiffusionXLDenoiseStep,
    ]
    block_names = ["input", "set_timesteps", "prepare_latents", "prepare_add_cond", "denoise"]  # noqa: RUF012


def modular_sdxl(guider: BaseGuidance) -> ModularPipeline:
    network = unet(addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=6 * 4 + 12)
    pipe = TextToLatents().init_pipeline()
    pipe.update_components(unet=network, vae=vae(), scheduler=EulerDiscreteScheduler(), guider=guider)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw_latents(pipe: ModularPipeline, images: int = 2, **more: Any) -> Tensor:
    inputs = {
        "prompt_embeds": embeddings(images, TOKENS, 16),
        "negative_prompt_embeds": embeddings(images, TOKENS, 16, seed=2),
        "pooled_prompt_embeds": embeddings(images, 12, seed=1),
        "negative_pooled_prompt_embeds": embeddings(images, 12, seed=3),
    }
    generator = torch.Generator().manual_seed(0)
    return pipe(**inputs, height=SIZE, width=SIZE, num_inference_steps=STEPS, generator=generator, output="latents", **more)
