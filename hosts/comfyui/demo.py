"""The bundled demo model as ComfyUI's own objects: MODEL, CONDITIONING, VAE, LATENT. It needs no file of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_management as mm
import comfy.model_patcher
import comfy.supported_models_base
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from ...core.demo.extractor import load_reference
from ...core.demo.network import NO_CLASS, DemoNetwork, read_config, read_weights
from ...core.options import check_whole

SCALE = 8  # image pixels per latent pixel, as stock nodes expect; the network itself draws 32 x 32
SIZE = 32

Conditioning = list[list[Any]]


@dataclass(frozen=True)
class Demo:
    """What Load Demo Model gives."""

    model: comfy.model_patcher.ModelPatcher
    positive: Conditioning
    negative: Conditioning
    decoder: DemoDecoder
    latent: dict[str, Tensor]
    examples: dict[str, Tensor]


class HostNetwork(DemoNetwork):
    """Called the way ComfyUI calls a network."""

    def forward(
        self, x: Tensor, timesteps: Tensor, context: Tensor | None = None, control: Any = None, transformer_options: Any = None, **_: Any
    ) -> Tensor:
        width = self.class_embedding.embedding_dim
        if context is None or context.shape[-1] != width:
            seen = "none" if context is None else f"tokens of width {context.shape[-1]}"
            raise ValueError(
                f"The demo model knows no words, only digits: its conditioning has tokens of width {width}, got {seen}; "
                "connect positive and negative of Load Demo Model."
            )
        if x.shape[1] != 1 or x.shape[-1] % 4 or x.shape[-2] % 4:
            raise ValueError(
                f"The demo model draws pictures of {SIZE * SCALE} x {SIZE * SCALE} pixels, a latent of (B, 1, {SIZE}, {SIZE}), "
                f"got {tuple(x.shape)}; connect the latent of Load Demo Model."
            )
        return super().forward(x, timesteps, context)


class DemoLatents(comfy.latent_formats.LatentFormat):
    """Grey values in [-1, 1]: the network works on pixels."""

    latent_channels = 1
    latent_rgb_factors = [[1.0, 1.0, 1.0]]


class DemoConfig(comfy.supported_models_base.BASE):
    unet_extra_config: dict[str, Any] = {}  # the inherited one would be handed to the network
    latent_format = DemoLatents
    memory_usage_factor = 0.1


def load_demo(digit: int, batch_size: int) -> Demo:
    """The network, a digit as CONDITIONING, "no digit" as the negative, a decoder, an empty latent of ``batch_size``, real digits."""
    check_whole("digit", digit, 0, 9)
    check_whole("batch_size", batch_size, 1)
    weights = read_weights()
    embeddings = weights["class_embedding.weight"]
    latent = {"samples": torch.zeros(batch_size, 1, SIZE, SIZE, device=mm.intermediate_device())}
    real = load_reference()
    examples = {"samples": real.images[real.labels == digit].to(mm.intermediate_device())}
    return Demo(_model(weights), _conditioning(embeddings, digit), _conditioning(embeddings, NO_CLASS), DemoDecoder(), latent, examples)


def _model(weights: dict[str, Tensor]) -> comfy.model_patcher.ModelPatcher:
    described = read_config()
    config = DemoConfig({"config": described["network"]})
    config.sampling_settings = _sampling_settings(described["process"])
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.BaseModel(config, comfy.model_base.ModelType.EPS, unet_model=HostNetwork)
    model.diffusion_model.load_state_dict(weights)
    model.diffusion_model.eval()  # older versions leave dropout switched on
    return comfy.model_patcher.ModelPatcher(model, load_device=mm.get_torch_device(), offload_device=mm.unet_offload_device())


def _sampling_settings(process: dict[str, Any]) -> dict[str, Any]:
    """ComfyUI follows the names of latent diffusion: betas that are linear are called "sqrt_linear" there."""
    return {
        "beta_schedule": {"linear": "sqrt_linear", "scaled_linear": "linear"}[process["beta_schedule"]],
        "linear_start": process["beta_start"],
        "linear_end": process["beta_end"],
        "timesteps": process["num_train_timesteps"],
    }


def _conditioning(embeddings: Tensor, label: int) -> Conditioning:
    return [[embeddings[label].view(1, 1, -1).clone(), {}]]


class DemoDecoder:
    """Stands where a VAE stands: latents are small grey pictures, so decoding enlarges them and encoding shrinks them.

    The attributes and methods are those of comfy.sd.VAE that stock nodes use.
    """

    downscale_ratio = upscale_ratio = SCALE
    latent_channels, latent_dim, output_channels = 1, 2, 3

    def decode(self, samples_in: Tensor, vae_options: dict[str, Any] | None = None) -> Tensor:
        """(B, 1, H, W) in [-1, 1] -> (B, 8 H, 8 W, 3) in [0, 1]."""
        if samples_in.ndim != 4 or samples_in.shape[1] != 1:
            raise ValueError(f"The demo decoder takes latents (B, 1, H, W) of the demo model, got {tuple(samples_in.shape)}.")
        grey = F.interpolate(samples_in.float(), scale_factor=SCALE, mode="bicubic")
        return repeat((grey / 2 + 0.5).clamp(0, 1), "b 1 h w -> b h w rgb", rgb=3).to(mm.intermediate_device())

    def encode(self, pixel_samples: Tensor) -> Tensor:
        """(B, H, W, 3) in [0, 1] -> (B, 1, H // 8, W // 8) in [-1, 1]; what is left over at right and bottom is cut off."""
        grey = rearrange(pixel_samples[..., :3].float().mean(-1), "b h w -> b 1 h w")
        return F.avg_pool2d(2 * grey - 1, SCALE).to(mm.intermediate_device())

    def decode_tiled(self, samples: Tensor, **_: Any) -> Tensor:
        return self.decode(samples)

    def encode_tiled(self, pixel_samples: Tensor, **_: Any) -> Tensor:
        return self.encode(pixel_samples)

    def spacial_compression_decode(self) -> int:
        return SCALE

    def spacial_compression_encode(self) -> int:
        return SCALE

    def temporal_compression_decode(self) -> None:
        return None
