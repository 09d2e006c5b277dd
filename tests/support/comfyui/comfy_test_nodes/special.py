"""Models and latents that are out of the ordinary, and what an UNCERTAINTY holds."""

from __future__ import annotations

import json
import os
import tempfile

import comfy.clip_vision
import comfy.controlnet
import torch
from comfy.patcher_extension import WrappersMP

try:
    from comfy.nested_tensor import NestedTensor
except ImportError:  # before 0.8
    NestedTensor = None

from .inputs import ours
from .observe import Reader, plain


class SaveUncertainty(Reader):
    """Scores, curve, levels, cost and provenance; of the map its shape, digest, one row, the highest value, and whether it is finite."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"uncertainty": ("UNCERTAINTY",)}}

    @classmethod
    def IS_CHANGED(cls, **_):
        return float("nan")

    def read(self, uncertainty):
        u = uncertainty
        found = {name: getattr(u, name).tolist() for name in ("scores", "curve", "sigmas")}
        found |= {"nfe": u.nfe, "seconds": u.seconds, "direction": u.direction.value, "quantity": u.quantity, "provenance": u.provenance}
        found |= {"total": u.maps.flatten(1).sum(dim=1).tolist(), "maps": plain(u.maps)}
        found |= {"row": u.maps[0, 0, ..., u.maps.shape[-2] // 2, :].tolist()}  # in the middle of the first image
        found |= {"highest": float(u.maps.max())}
        found |= {"finite": bool(u.maps.isfinite().all()), "positive": bool((u.maps >= 0).all())}
        return {"ui": {"value": [json.dumps([found])]}}


class Gradient:
    """A model whose gradient is ``share`` of the true one; its predictions are unchanged."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "patch", ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "share": ("FLOAT", {"default": 0.5})}}

    def patch(self, model, share):
        def call(executor, x, *args, **kwargs):
            denoised = executor(x, *args, **kwargs)
            if not denoised.requires_grad:
                return denoised
            return denoised.detach() if share == 0 else denoised.detach() + share * (denoised - denoised.detach())

        model = model.clone()
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "uq_test_gradient", call)
        return (model,)


class StrangeSampling(torch.nn.Module):
    """Looks like a model_sampling, but its noise is no known one."""

    sigma_max = torch.tensor(1.0)

    def percent_to_sigma(self, percent):
        return 1 - percent

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        return noise * sigma.sqrt() + latent_image


class StrangeModel:
    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "patch", ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",)}}

    def patch(self, model):
        model = model.clone()
        model.add_object_patch("model_sampling", StrangeSampling())
        return (model,)


class AdapterNet(torch.nn.Module):
    """A T2I adapter of one convolution, whose features go to the first block of a UNet of 320 channels."""

    unshuffle_amount = 8

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 320, 8, stride=8)
        generator = torch.Generator().manual_seed(0)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator)

    def forward(self, x):
        return {"input": [self.conv(x)]}


class Adapter:
    """A T2I adapter as a CONTROL_NET."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("CONTROL_NET",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def make(self):
        return (comfy.controlnet.T2IAdapter(AdapterNet(), 3, 8, "nearest-exact"),)


class Thresholds:
    """A calibration for guidance that no pixel exceeds (high) or every pixel does (low), at any level."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("UQ_CALIBRATION",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"quantity": ("STRING", {"default": "noise"}), "value": ("FLOAT", {"default": 1e6, "max": 1e7})}}

    def make(self, quantity, value):
        thresholds = ours("core.guidance.step_thresholds").StepThresholds(quantity)
        thresholds.add(1.0, torch.full((1, 1, 4, 4), value))
        return (thresholds,)


class BatchIndex:
    """Sets batch_index, comma separated."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("LATENT",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"latent": ("LATENT",), "indexes": ("STRING", {"default": "0"})}}

    def make(self, latent, indexes):
        return ({**latent, "batch_index": [int(i) for i in indexes.split(",")]},)


class NestedLatent:
    """Two latents of different shape in one, as models of video with sound have them."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("LATENT",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"latent": ("LATENT",)}}

    def make(self, latent):
        samples = latent["samples"]
        return ({"samples": NestedTensor([samples, samples[..., :4]])},)


class Decoder:
    """Stands where a VAE stands, for latents of any channels: their mean, eight times as large, as a grey picture; or raw, as they are."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("VAE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"raw": ("BOOLEAN", {"default": False})}}

    def make(self, raw):
        decoder = Decoder()
        decoder.raw = raw
        return (decoder,)

    def decode(self, samples):
        if self.raw:
            return samples.movedim(1, -1)
        grey = samples.mean(1, keepdim=True).sigmoid().repeat_interleave(8, -1).repeat_interleave(8, -2)
        return grey.movedim(1, -1).repeat_interleave(3, -1)


CLIP_VISION = {"model_type": "clip_vision_model", "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2}
CLIP_VISION |= {"intermediate_size": 64, "hidden_act": "quick_gelu", "num_channels": 3, "patch_size": 16, "image_size": 32}


class TinyClipVision:
    """ComfyUI's own CLIP_VISION, random and small: 16 features. broken: its pooled features have a shape that no encoder gives."""

    CATEGORY, FUNCTION, RETURN_TYPES = "uncertainty/test", "make", ("CLIP_VISION",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"broken": ("BOOLEAN", {"default": False})}}

    def make(self, broken):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "config.json")
            with open(path, "w") as file:
                json.dump({**CLIP_VISION, "projection_dim": 16}, file)
            model = comfy.clip_vision.ClipVisionModel(path)
        generator = torch.Generator().manual_seed(0)
        for weight in model.model.parameters():
            weight.data = 0.2 * torch.randn(weight.shape, generator=generator)
        if broken:
            model.encode_image = lambda images: {"image_embeds": torch.zeros(len(images), 4, 16)}
        return (model,)


NODES = [Decoder, TinyClipVision, SaveUncertainty, Gradient, StrangeModel, Adapter, Thresholds, BatchIndex]
NODES += [NestedLatent] if NestedTensor else []
