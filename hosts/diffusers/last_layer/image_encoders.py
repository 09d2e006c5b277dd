"""Image encoders that are installed anyway: CLIP of transformers or of open_clip. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ....core.files import reason_of
from ....core.last_layer.generative import ImageEncoder
from ..load import variant_of

CLIP_MEAN, CLIP_DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of the pixels; Radford et al. 2021


def clip_encoder(path: str | Path, device: str | torch.device = "cpu") -> ImageEncoder:
    """A CLIP image tower with its projection, as transformers saves it (ViT-B/32: 512 features). Images: (B, 1 or 3, H, W) in [0, 1].

    Raises ModuleNotFoundError without transformers, OSError for a folder that holds no such model.
    """
    try:
        from transformers import CLIPVisionModelWithProjection
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("This encoder needs transformers: pip install transformers, or use the bundled one.") from error
    variant = variant_of([Path(path)]) if Path(path).is_dir() else None
    try:
        model: Any = CLIPVisionModelWithProjection.from_pretrained(path, local_files_only=True, use_safetensors=True, variant=variant)
    except (OSError, ValueError) as error:
        raise OSError(
            f"There is no CLIP image model in {str(path)!r} ({reason_of(error)}); give a folder that save_pretrained() wrote."
        ) from error
    tower = model.to(device).eval().requires_grad_(False)
    side = tower.config.image_size
    return lambda images: tower(pixel_values=prepare_pixels(images.to(device), side, CLIP_MEAN, CLIP_DEVIATION)).image_embeds


def open_clip_encoder(name: str, pretrained: str | Path, device: str | torch.device = "cpu") -> ImageEncoder:
    """A CLIP image tower of open_clip; name: such as ViT-B-32, pretrained: its weights' file. Images: (B, 1 or 3, H, W) in [0, 1].

    Raises ModuleNotFoundError without open_clip, FileNotFoundError where there is no such file.
    """
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("This encoder needs open_clip: pip install open_clip_torch, or use the bundled one.") from error
    if not Path(pretrained).is_file():
        raise FileNotFoundError(f"There is no file {str(pretrained)!r}; give the weights of {name} as open_clip saves them.")
    model = open_clip.create_model(name, pretrained=str(pretrained), device=device).eval().requires_grad_(False)
    tower: Any = model.visual
    side = tower.image_size[0] if isinstance(tower.image_size, Sequence) else tower.image_size
    return lambda images: model.encode_image(prepare_pixels(images.to(device), side, tower.image_mean, tower.image_std))


def prepare_pixels(images: Tensor, side: int, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    """Images (B, 1 or 3, H, W) in [0, 1] -> (B, 3, side, side) float32, normalised: the shorter side resized, the rest cropped.

    Raises ValueError for any other shape.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.shape[0] == 0:
        raise ValueError(f"The encoder takes images of shape (B, 1 or 3, H, W) in [0, 1], got {tuple(images.shape)}; decode latents first.")
    scale = side / min(images.shape[2:])
    size = [max(side, round(length * scale)) for length in images.shape[2:]]
    resized = F.interpolate(images.float(), size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = ((length - side) // 2 for length in size)
    cropped = resized[..., top : top + side, left : left + side].expand(-1, 3, -1, -1)
    middle, width = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (mean, deviation))
    return (cropped - middle) / width
