"""Maps of uncertainty as pictures and masks, in the IMAGE layout of ComfyUI: (N, H, W, 3) float32 in [0, 1].

All functions take maps that are high where things are bad (``Uncertainty.bad_maps``), so bright always means unsure.
A pixel that is not finite counts as the worst finite pixel of its own image. A constant map is all low: nothing stands out, so it has
the darkest colour and an empty mask. An image without a finite pixel failed: it is bright all over, and has an empty mask.
Videos (B, C, T, H, W) come out as N = B * T frames; one video counts as one image where percentiles are taken.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..denoiser import finite_rows
from ..options import HeatmapOptions, HeatmapScale, bounds
from .colormaps import colorize

ROUNDING = 1e-5  # relative to the largest value; smaller differences are float32 rounding (3e-6 when 1000 pixels shrink to 37)


def heatmap(bad_maps: Tensor, options: HeatmapOptions, images: Tensor | None = None) -> Tensor:
    """The map in colours, alone in its own size, or laid over the images it belongs to in theirs.

    bad_maps: (B, C, H, W) or (B, C, T, H, W). images: (N, H', W', 3), N = B, or B times the frames of each video.
    Returns (N, H', W', 3) float32. Opacity 0 gives exactly the images. Raises ValueError when shapes do not fit.
    """
    heat = normalise(reduce_channels(bad_maps), options, finite_rows(bad_maps))
    heat[~bad_maps.isfinite().flatten(1).any(dim=1)] = 1.0
    if images is None:
        return colorize(_frames(heat), options.colormap)
    frames = check_images(images, heat)
    heat = _frames(resize(heat, images.shape[1], images.shape[2], frames))
    return overlay(images, colorize(heat, options.colormap).to(images.device), options.opacity)


def worst_mask(bad_maps: Tensor, percentile: float, height: int, width: int, frames: int | None = None) -> Tensor:
    """1 where the map, resized, exceeds the ``percentile`` of its own image, else 0; percentile 0 takes every pixel.

    bad_maps: (B, C, H, W) or (B, C, T, H, W); returns (N, height, width) float32. Pixels that equal the percentile stay
    out, so at most (100 - percentile) % are in, up to rounding. Raises ValueError when shape or percentile do not fit.
    """
    bounds(HeatmapOptions, "mask_percentile").check("mask_percentile", percentile)
    maps = resize(reduce_channels(bad_maps), height, width, frames)
    if percentile == 0:
        return torch.ones_like(_frames(maps))
    flat = maps.flatten(1)
    limit = torch.tensor([_percentiles(image, percentile)[0] for image in flat], device=maps.device)
    slack = ROUNDING * flat.abs().amax(dim=1)
    worse = flat > (limit + slack)[:, None]
    return _frames(worse.float().view_as(maps))


def reduce_channels(maps: Tensor) -> Tensor:
    """Mean over channels, float32 and finite: (B, C, H, W) -> (B, H, W), (B, C, T, H, W) -> (B, T, H, W)."""
    if maps.ndim not in (4, 5) or maps.numel() == 0:
        raise ValueError(f"A map must have shape (B, C, H, W), or (B, C, T, H, W) for video, and not be empty, got {tuple(maps.shape)}.")
    mean = maps.detach().float().mean(dim=1)
    finite = mean.isfinite()
    worst = torch.where(finite, mean, -torch.inf).flatten(1).amax(dim=1).nan_to_num(neginf=0.0)
    return torch.where(finite, mean, worst.view(-1, *[1] * (mean.ndim - 1)))


def normalise(maps: Tensor, options: HeatmapOptions, sound: Tensor | None = None) -> Tensor:
    """(x - low) / (high - low) clamped to [0, 1], with low and high as ``options.scale`` says. Shape kept, (B, [T], H, W).

    sound: (B,) the images that percentiles of the whole batch are taken of; all when left out.
    Where low and high agree to rounding, what lies above them is 1 and the rest 0.
    """
    low, high = (end.view(-1, *[1] * (maps.ndim - 1)) for end in color_ends(maps, options, sound))
    slack = ROUNDING * torch.maximum(low.abs(), high.abs())
    spread = high - low
    return torch.where(spread > slack, ((maps - low) / spread).clamp(0, 1), (maps > high + slack).float())


def color_ends(maps: Tensor, options: HeatmapOptions, sound: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Values of (B, [T], H, W) at the two ends of the colours: (B,) each with scale IMAGE, (1,) with the others. sound: as above."""
    if options.scale is HeatmapScale.FIXED:
        return maps.new_tensor([options.low]), maps.new_tensor([options.high])
    whole = maps if sound is None or not bool(sound.any()) else maps[sound]
    groups = maps.flatten(1) if options.scale is HeatmapScale.IMAGE else whole.reshape(1, -1)
    low, high = torch.tensor([_percentiles(group, options.low, options.high) for group in groups], device=maps.device).unbind(dim=1)
    return low, high


def resize(maps: Tensor, height: int, width: int, frames: int | None = None) -> Tensor:
    """Bilinear, antialiased when shrinking: (B, [T], H, W) -> (B, [frames], height, width). The same size is the identity.

    Frames of a video are interpolated linearly from first to last, as a latent frame stands for several frames.
    """
    if maps.ndim == 4 and frames is not None and frames != maps.shape[1]:
        batch, _, *size = maps.shape
        in_time = maps.flatten(2).transpose(1, 2)  # (B, H W, T)
        in_time = F.interpolate(in_time, size=frames, mode="linear", align_corners=True)
        maps = in_time.transpose(1, 2).reshape(batch, frames, *size)
    if maps.shape[-2:] == (height, width):
        return maps
    planes = maps if maps.ndim == 4 else maps[:, None]
    return F.interpolate(planes, size=(height, width), mode="bilinear", antialias=True).view(*maps.shape[:-2], height, width)


def overlay(images: Tensor, colours: Tensor, opacity: float) -> Tensor:
    """(1 - opacity) * images + opacity * colours, all (N, H, W, 3), float32; exactly the images at 0, the colours at 1.

    Above 0, a pixel of an image that is not finite shows the colour alone.
    """
    if images.shape != colours.shape:
        raise ValueError(f"Images and colours must have one shape, got {tuple(images.shape)} and {tuple(colours.shape)}.")
    mixed = torch.lerp(images.float(), colours.float(), opacity)
    return mixed if opacity == 0 else torch.where(images.isfinite(), mixed, colours.float())


def _frames(maps: Tensor) -> Tensor:
    """(B, [T], H, W) -> (N, H, W)."""
    return maps.flatten(0, 1) if maps.ndim == 4 else maps


def _percentiles(values: Tensor, *percents: float) -> list[float]:
    """numpy's, linear between neighbours: torch.quantile refuses more than 16 million values."""
    return np.percentile(values.cpu().numpy(), percents).tolist()


def check_images(images: Tensor, heat: Tensor) -> int | None:
    """Frames per video, None for images. heat: (B, H, W), of videos (B, T, H, W).

    Raises ValueError when the images are no IMAGE, or not those that the maps describe.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.numel() == 0:
        raise ValueError(f"Images must have shape (N, H, W, 3), got {tuple(images.shape)}.")
    video = heat.ndim == 4
    if len(images) % len(heat) or (not video and len(images) != len(heat)):
        kind = "videos" if video else "images"
        raise ValueError(f"The map describes {len(heat)} {kind}, but {len(images)} images came with it; give those that it was made from.")
    return len(images) // len(heat) if video else None
