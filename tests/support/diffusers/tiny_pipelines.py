"""Real diffusers pipelines with random weights, small enough for a CPU; prompts are given as embeddings, so that nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    DiTPipeline,
    DiTTransformer2DModel,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from torch import Tensor, nn

SIZE = 8  # of the latents
STEPS = 4
TOKENS = 5  # of a prompt


@dataclass
class Tiny:
    """A pipeline and how to call it for so many images: ``draw(images, cfg=..., seed=...)`` returns what was sampled."""

    pipe: DiffusionPipeline
    inputs: Callable[[int, float], dict[str, Any]]

    def __post_init__(self) -> None:
        self.pipe.set_progress_bar_config(disable=True)

    @property
    def network(self) -> nn.Module:
        return self.pipe.unet if hasattr(self.pipe, "unet") else self.pipe.transformer

    def draw(self, images: int = 2, cfg: float = 1.0, seed: int = 0, **more: Any) -> Tensor:
        inputs = {"num_inference_steps": STEPS, "generator": torch.Generator().manual_seed(seed)} | self.inputs(images, cfg) | more
        return torch.as_tensor(self.pipe(**inputs)[0])


def seeded(make: Callable[[], Any], seed: int = 0) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().eval()


def embeddings(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(100 + seed))


def vae(channels: int = 4, blocks: int = 1) -> AutoencoderKL:
    return seeded(lambda: AutoencoderKL(latent_channels=channels, block_out_channels=(8,) * blocks, norm_num_groups=4, sample_size=SIZE))


def unet(**more: Any) -> UNet2DConditionModel:
    shape = {
        "sample_size": SIZE,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "cross_attention_dim": 16,
        "attention_head_dim": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }
    return seeded(lambda: UNet2DConditionModel(**shape | more))


def text(images: int, cfg: float, width: int = 16, pooled: int = 0) -> dict[str, Any]:
    inputs = {"prompt_embeds": embeddings(images, TOKENS, width), "guidance_scale": cfg, "output_type": "latent"}
    inputs |= {"pooled_prompt_embeds": embeddings(images, pooled, seed=1)} if pooled else {}
    if cfg > 1:
        inputs["negative_prompt_embeds"] = embeddings(images, TOKENS, width, seed=2)
        inputs |= {"negative_pooled_prompt_embeds": embeddings(images, pooled, seed=3)} if pooled else {}
    return inputs


def sd_parts(scheduler: Any = None) -> dict[str, Any]:
    nothing = dict.fromkeys(["text_encoder", "tokenizer", "safety_checker", "feature_extractor"])
    scheduler = scheduler or DDIMScheduler(clip_sample=False, steps_offset=1)
    return {"vae": vae(), "scheduler": scheduler, "requires_safety_checker": False, **nothing}


def sd() -> Tiny:
    return Tiny(StableDiffusionPipeline(unet=unet(), **sd_parts()), lambda n, cfg: {"height": SIZE, "width": SIZE, **text(n, cfg)})


def sd_v() -> Tiny:
    """v-prediction in k-diffusion coordinates, as SD 2.1 with Euler."""
    parts = sd_parts(EulerDiscreteScheduler(prediction_type="v_prediction", use_karras_sigmas=True, steps_offset=1))
    return Tiny(StableDiffusionPipeline(unet=unet(), **parts), lambda n, cfg: {"height": SIZE, "width": SIZE, **text(n, cfg)})


def sd_inpaint() -> Tiny:
    """Nine input channels: the sample, a mask, and the masked image."""
    image, mask = torch.zeros(1, 3, SIZE, SIZE), torch.ones(1, 1, SIZE, SIZE)
    mask[..., : SIZE // 2] = 0
    pipe = StableDiffusionInpaintPipeline(unet=unet(in_channels=9), **sd_parts())
    return Tiny(pipe, lambda n, cfg: {"image": image, "mask_image": mask, "height": SIZE, "width": SIZE, **text(n, cfg)})


def sd_controlnet() -> Tiny:
    """Residuals come to the network as a tuple of tensors."""
    network = unet()
    control = seeded(lambda: ControlNetModel.from_unet(network, conditioning_embedding_out_channels=(8,)))
    for zero in [*control.controlnet_down_blocks, control.controlnet_mid_block, control.controlnet_cond_embedding.conv_out]:
        nn.init.normal_(zero.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    pipe = StableDiffusionControlNetPipeline(unet=network, controlnet=control, **sd_parts())
    return Tiny(pipe, lambda n, cfg: {"image": embeddings(n, 3, SIZE, SIZE).sigmoid(), **text(n, cfg)})


def sdxl() -> Tiny:
    network = unet(addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=6 * 4 + 12)
    nothing = dict.fromkeys(["text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"])
    pipe = StableDiffusionXLPipeline(vae(), unet=network, scheduler=EulerDiscreteScheduler(), **nothing, add_watermarker=False)
    return Tiny(pipe, lambda n, cfg: {"height": SIZE, "width": SIZE, **text(n, cfg, pooled=12)})


def sd3() -> Tiny:
    network = seeded(
        lambda: SD3Transformer2DModel(
            sample_size=SIZE,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=16,
            caption_projection_dim=16,
            pooled_projection_dim=12,
        )
    )
    nothing = dict.fromkeys(f"{part}{i}" for part in ("text_encoder", "tokenizer") for i in ("", "_2", "_3"))
    pipe = StableDiffusion3Pipeline(network, FlowMatchEulerDiscreteScheduler(shift=3.0), vae(), **nothing)
    return Tiny(pipe, lambda n, cfg: {"height": SIZE, "width": SIZE, **text(n, cfg, pooled=12)})


def flux() -> Tiny:
    """Packed latents, time in 0 to 1, an embedded guidance, and true guidance as a second call."""
    network = seeded(
        lambda: FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=12,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        )
    )
    nothing = dict.fromkeys(["text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"])
    pipe = FluxPipeline(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae(), **nothing, transformer=network)

    def inputs(images: int, cfg: float) -> dict[str, Any]:
        return {"height": SIZE, "width": SIZE, **text(images, cfg, pooled=12), "guidance_scale": 3.5, "true_cfg_scale": cfg}

    return Tiny(pipe, inputs)


def dit() -> Tiny:
    """A class-conditional transformer with a learned variance, whose conditional half comes first."""
    network = seeded(
        lambda: DiTTransformer2DModel(
            sample_size=SIZE, in_channels=4, out_channels=8, num_layers=1, attention_head_dim=8, num_attention_heads=2, norm_num_groups=4
        )
    )
    pipe = DiTPipeline(network, vae(), DDIMScheduler(clip_sample=False))
    return Tiny(pipe, lambda n, cfg: {"class_labels": list(range(n)), "guidance_scale": cfg, "output_type": "np"})


def unconditional(pipeline: type[DiffusionPipeline], learned_variance: bool = False) -> Tiny:
    network = seeded(
        lambda: UNet2DModel(
            sample_size=SIZE,
            in_channels=3,
            out_channels=6 if learned_variance else 3,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=4,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        )
    )
    scheduler = DDPMScheduler(variance_type="learned_range" if learned_variance else "fixed_small", clip_sample=False)
    return Tiny(pipeline(network, scheduler), lambda n, cfg: {"batch_size": n, "output_type": "np"})
