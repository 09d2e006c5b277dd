"""The bundled network that draws digits, for hosts without diffusers: the same architecture, weight names and numbers as its UNet2DModel.

Ho et al. 2020 (DDPM), appendix B, with a class embedding added to that of the time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..ensemble.file import EnsembleParameters
from ..files import read_safetensors
from ..values import check_tensor, intact

FOLDER = Path(__file__).resolve().parents[2] / "demo_model"
LAPLACE = FOLDER / "laplace.safetensors"  # its last-layer posterior, for core.last_layer.laplace.Laplace.load
CLASSES = 10
NO_CLASS = 10  # the row of the class embedding that stands for "no condition"

Layers = Any  # a module or class: whatever has Linear, Conv2d, GroupNorm and Embedding; hosts bring their own, to move and cast weights


def read_config() -> dict[str, Any]:
    """config.json of the bundled model: ``network``, ``process``, ``image``, ``classes``."""
    return json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))


def read_weights() -> dict[str, Tensor]:
    """Name -> float32 tensor, on the CPU."""
    path = FOLDER / "model.safetensors"
    tensors, _ = read_safetensors(path, "the bundled model")
    with intact(path, "model"):
        return {name: check_tensor(name, tensor).float() for name, tensor in tensors.items()}


def read_ensemble() -> EnsembleParameters:
    """The bundled class-embedding tables, trained on few, some or all images of a class."""
    return EnsembleParameters.load(FOLDER / "ensemble.safetensors")


class DemoNetwork(nn.Module):
    """eps(x, t, class) of the bundled model.

    config: the ``network`` entry of config.json. operations, device, dtype: where layers come from and how they are made.
    Dropout is as trained, so it draws in training mode: call ``eval()``.
    """

    def __init__(self, config: Mapping[str, Any], operations: Layers = nn, device: Any = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.dtype = dtype or torch.float32
        make = _Maker(config, operations, {"device": device, "dtype": dtype})
        widths = config["block_out_channels"]
        self.width = widths[0]
        self.conv_in = make.conv(config["in_channels"], widths[0])
        self.time_embedding = TimeEmbedding(make, widths[0])
        self.class_embedding = operations.Embedding(config["num_class_embeds"], make.embedding, **make.factory)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        skips = [width := widths[0]]  # channels of what the way up will concatenate
        for kind, out, last in _blocks(config["down_block_types"], widths):
            self.down_blocks.append(DownBlock(make, [width] + [out] * (config["layers_per_block"] - 1), out, "Attn" in kind, last))
            skips += [width := out] * (config["layers_per_block"] + (not last))
        self.mid_block = MiddleBlock(make, width)
        for kind, out, last in _blocks(config["up_block_types"], widths[::-1]):
            ins = [(width if i == 0 else out) + skips.pop() for i in range(config["layers_per_block"] + 1)]
            self.up_blocks.append(UpBlock(make, ins, width := out, "Attn" in kind, last))
        self.conv_norm_out = make.norm(width)
        self.conv_out = make.conv(width, config["out_channels"])

    def class_context(self, labels: Tensor) -> Tensor:
        """Class labels (B,) -> context (B, 1, D); NO_CLASS for none."""
        return self.class_embedding(labels)[:, None]

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """x (B, 1, H, W), sides a multiple of 4; timesteps (B,) in 0..999; context (B, T, D), whose tokens are averaged -> eps like x."""
        time = self.time_embedding(sinusoids(timesteps, self.width).to(x.dtype))
        embedding = F.silu(time + context.mean(dim=1))
        x = self.conv_in(x)
        skips = [x]
        for block in self.down_blocks:
            x = block(x, embedding, skips)
        x = self.mid_block(x, embedding)
        for block in self.up_blocks:
            x = block(x, embedding, skips)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


def sinusoids(timesteps: Tensor, width: int) -> Tensor:
    """(B,) -> (B, width): cos then sin of t * 10000^(-2 i / width). Vaswani et al. 2017, section 3.5."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=timesteps.device) / half)
    angles = timesteps.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class _Maker:
    """Makes layers as the configuration says."""

    def __init__(self, config: Mapping[str, Any], operations: Layers, factory: Mapping[str, Any]) -> None:
        self.operations, self.factory = operations, factory
        self.groups, self.eps = config["norm_num_groups"], config["norm_eps"]
        self.dropout, self.head = config["dropout"], config["attention_head_dim"]
        self.embedding = 4 * config["block_out_channels"][0]

    def conv(self, ins: int, outs: int, size: int = 3, stride: int = 1) -> nn.Module:
        return self.operations.Conv2d(ins, outs, size, stride=stride, padding=size // 2, **self.factory)

    def linear(self, ins: int, outs: int) -> nn.Module:
        return self.operations.Linear(ins, outs, **self.factory)

    def norm(self, channels: int) -> nn.Module:
        return self.operations.GroupNorm(self.groups, channels, eps=self.eps, **self.factory)


def _blocks(kinds: list[str], widths: list[int]) -> list[tuple[str, int, bool]]:
    """(kind, channels out, is the last) of each block."""
    return [(kind, width, i == len(kinds) - 1) for i, (kind, width) in enumerate(zip(kinds, widths, strict=True))]


class TimeEmbedding(nn.Module):
    def __init__(self, make: _Maker, ins: int) -> None:
        super().__init__()
        self.linear_1 = make.linear(ins, make.embedding)
        self.linear_2 = make.linear(make.embedding, make.embedding)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


class ResnetBlock(nn.Module):
    """x + conv(dropout(act(norm(conv(act(norm(x))) + time))))."""

    def __init__(self, make: _Maker, ins: int, outs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = make.norm(ins), make.conv(ins, outs)
        self.time_emb_proj = make.linear(make.embedding, outs)
        self.norm2, self.conv2 = make.norm(outs), make.conv(outs, outs)
        self.dropout = nn.Dropout(make.dropout)
        self.conv_shortcut = make.conv(ins, outs, size=1) if ins != outs else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(embedding)[:, :, None, None]
        return self.conv_shortcut(x) + self.conv2(self.dropout(F.silu(self.norm2(h))))


class Attention(nn.Module):
    """Every pixel looks at every pixel."""

    def __init__(self, make: _Maker, channels: int) -> None:
        super().__init__()
        self.heads = channels // make.head
        self.group_norm = make.norm(channels)
        self.to_q, self.to_k, self.to_v = (make.linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([make.linear(channels, channels)])  # a list, for the weight's name

    def forward(self, x: Tensor) -> Tensor:
        h = rearrange(self.group_norm(x), "b c h w -> b (h w) c")
        q, k, v = (rearrange(to(h), "b n (heads d) -> b heads n d", heads=self.heads) for to in (self.to_q, self.to_k, self.to_v))
        h = rearrange(F.scaled_dot_product_attention(q, k, v), "b heads n d -> b n (heads d)")
        return x + rearrange(self.to_out[0](h), "b (h w) c -> b c h w", h=x.shape[-2])


class Resample(nn.Module):
    """A convolution that halves the size, or one at twice the size."""

    def __init__(self, conv: nn.Module, scale: int) -> None:
        super().__init__()
        self.conv, self.scale = conv, scale

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=self.scale) if self.scale > 1 else x)


class Block(nn.Module):
    """Residual blocks, each with attention where asked for."""

    def __init__(self, make: _Maker, ins: list[int], outs: int, attention: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([ResnetBlock(make, i, outs) for i in ins])
        self.attentions = nn.ModuleList([Attention(make, outs) if attention else nn.Identity() for _ in ins])


class DownBlock(Block):
    def __init__(self, make: _Maker, ins: list[int], outs: int, attention: bool, last: bool) -> None:
        super().__init__(make, ins, outs, attention)
        self.downsamplers = nn.ModuleList([] if last else [Resample(make.conv(outs, outs, stride=2), scale=1)])

    def forward(self, x: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        for resnet, attention in zip(self.resnets, self.attentions, strict=True):
            skips.append(x := attention(resnet(x, embedding)))
        for down in self.downsamplers:
            skips.append(x := down(x))
        return x


class MiddleBlock(Block):
    def __init__(self, make: _Maker, channels: int) -> None:
        super().__init__(make, [channels, channels], channels, attention=False)
        self.attentions = nn.ModuleList([Attention(make, channels)])

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x, embedding)), embedding)


class UpBlock(Block):
    def __init__(self, make: _Maker, ins: list[int], outs: int, attention: bool, last: bool) -> None:
        super().__init__(make, ins, outs, attention)
        self.upsamplers = nn.ModuleList([] if last else [Resample(make.conv(outs, outs), scale=2)])

    def forward(self, x: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        for resnet, attention in zip(self.resnets, self.attentions, strict=True):
            x = attention(resnet(torch.cat([x, skips.pop()], dim=1), embedding))
        for up in self.upsamplers:
            x = up(x)
        return x
