"""Things to sample with: conditioning without a text encoder, random latents, a Flux too small for the stock loader."""

from __future__ import annotations

import comfy.latent_formats
import comfy.model_base
import comfy.model_management as mm
import comfy.model_patcher
import comfy.supported_models_base
import torch
from comfy.ldm.flux.model import FluxParams

SEED = ("INT", {"default": 0, "min": 0, "max": 0xFFFFFFFFFFFFFFFF})


def integer(default: int, low: int = 0) -> tuple:
    return ("INT", {"default": default, "min": low, "max": 65536})


class Conditioning:
    """Deterministic CONDITIONING: (1, tokens, width), and pooled_output (1, pooled) unless pooled is 0."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("CONDITIONING",)

    @classmethod
    def INPUT_TYPES(cls):
        sizes = {"tokens": integer(77, 1), "width": integer(768, 1), "pooled": integer(0), "batch": integer(1, 1)}
        return {"required": {"seed": SEED, **sizes}}

    def make(self, seed, tokens, width, pooled, batch):
        generator = torch.Generator().manual_seed(seed)
        extra = {"pooled_output": torch.randn(batch, pooled, generator=generator)} if pooled else {}
        return ([[torch.randn(batch, tokens, width, generator=generator), extra]],)


class RandomLatent:
    """A latent of any size; frames 0 is a 4-D one, else 5-D (B, C, T, H, W). A new salt makes all that follows run again."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("LATENT",)

    @classmethod
    def INPUT_TYPES(cls):
        sizes = {"batch": integer(1, 1), "channels": integer(4, 1), "frames": integer(0), "height": integer(8, 1), "width": integer(8, 1)}
        return {"required": {"seed": SEED, **sizes, "scale": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 100.0}), "salt": SEED}}

    def make(self, seed, batch, channels, frames, height, width, scale, salt):
        shape = (batch, channels, *([frames] if frames else []), height, width)
        return ({"samples": scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))},)


FLUX = {"in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": 32, "context_in_dim": 64, "guidance_embed": True}
FLUX |= {"hidden_size": 128, "mlp_ratio": 2.0, "num_heads": 4, "depth": 1, "depth_single_blocks": 1, "qkv_bias": True}
FLUX |= {"axes_dim": [8, 12, 12], "theta": 10000}


class TinyFluxConfig(comfy.supported_models_base.BASE):
    unet_extra_config = {}
    latent_format = comfy.latent_formats.Flux
    sampling_settings = {"shift": 1.15}
    memory_usage_factor = 2.8


class TinyFlux:
    """ComfyUI's own Flux at width 128: the stock loader knows width 3072 only. Context 64, pooled 32, distilled guidance."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"seed": SEED}}

    def make(self, seed):
        network = {**FLUX, "txt_ids_dims": []} if "txt_ids_dims" in FluxParams.__dataclass_fields__ else FLUX  # since 0.8.0
        config = TinyFluxConfig(dict(network))
        config.set_inference_dtype(torch.float32, None)
        model = comfy.model_base.Flux(config)
        generator = torch.Generator().manual_seed(seed)
        for name, weight in model.diffusion_model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.data = 0.7 * noise / weight[0].numel() ** 0.5 if weight.ndim > 1 else 0.02 * noise + name.endswith("scale")
        patcher = comfy.model_patcher.ModelPatcher(model, load_device=mm.get_torch_device(), offload_device=mm.unet_offload_device())
        return (patcher,)


NODES = [Conditioning, RandomLatent, TinyFlux]
