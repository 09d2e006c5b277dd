"""A tiny Stable Diffusion in one file, with the names that CompVis gave its weights: the way back from diffusers' own names.

After diffusers' scripts/convert_diffusers_to_original_stable_diffusion.py.
"""

from __future__ import annotations

from pathlib import Path

from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor

Weights = dict[str, Tensor]

UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3"}
RESNET |= {"time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_blocks(levels: int, layers: int) -> dict[str, str]:
    """Beginnings of names; layers: of each block, as its config has them."""
    names = {}
    for level in range(levels):
        for layer in range(layers):
            place = (layers + 1) * level + layer + 1
            names[f"down_blocks.{level}.resnets.{layer}"] = f"input_blocks.{place}.0"
            names[f"down_blocks.{level}.attentions.{layer}"] = f"input_blocks.{place}.1"
        names[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{(layers + 1) * (level + 1)}.0.op"
        for layer in range(layers + 1):
            place = (layers + 1) * level + layer
            names[f"up_blocks.{level}.resnets.{layer}"] = f"output_blocks.{place}.0"
            names[f"up_blocks.{level}.attentions.{layer}"] = f"output_blocks.{place}.1"
        names[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{(layers + 1) * level + layers}.{{up}}.conv"
    return names


def unet(weights: Weights, levels: int, layers: int) -> Weights:
    names, renamed = UNET | unet_blocks(levels, layers), {}
    for name, weight in weights.items():
        begin = max((b for b in names if name.startswith(b + ".")), key=len)
        rest = name[len(begin) :]
        if ".resnets." in begin:
            rest = replace_word(rest, RESNET)
        with_attention = any(other.startswith(begin.split("upsamplers")[0] + "attentions") for other in weights)
        renamed["model.diffusion_model." + names[begin].format(up=2 if with_attention else 1) + rest] = weight
    return renamed


def replace_word(rest: str, words: dict[str, str]) -> str:
    return next((f".{new}{rest[len(old) + 1 :]}" for old, new in words.items() if rest.startswith(f".{old}.")), rest)


def vae(weights: Weights, levels: int) -> Weights:
    renamed = {}
    for name, weight in weights.items():
        new = name
        for level in range(levels):
            for layer in range(3):
                new = new.replace(f"encoder.down_blocks.{level}.resnets.{layer}.", f"encoder.down.{level}.block.{layer}.")
                new = new.replace(f"decoder.up_blocks.{level}.resnets.{layer}.", f"decoder.up.{levels - 1 - level}.block.{layer}.")
            new = new.replace(f"down_blocks.{level}.downsamplers.0.", f"down.{level}.downsample.")
            new = new.replace(f"up_blocks.{level}.upsamplers.0.", f"up.{levels - 1 - level}.upsample.")
        new = new.replace("mid_block.resnets.0.", "mid.block_1.").replace("mid_block.resnets.1.", "mid.block_2.")
        new = new.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        if "mid_block.attentions.0" in new:
            begin, rest = new.split("mid_block.attentions.0")
            new = begin + "mid.attn_1" + replace_word(rest, VAE_ATTENTION)
            weight = weight[..., None, None] if weight.ndim == 2 else weight
        renamed["first_stage_model." + new] = weight
    return renamed


def text(weights: Weights) -> Weights:
    begin = "cond_stage_model.transformer."
    return {begin + (name if name.startswith("text_model.") else f"text_model.{name}"): weight for name, weight in weights.items()}


def write_single_file(pipe: StableDiffusionPipeline, path: Path) -> Path:
    levels, layers = len(pipe.unet.config.block_out_channels), pipe.unet.config.layers_per_block
    parts = [
        unet(pipe.unet.state_dict(), levels, layers),
        vae(pipe.vae.state_dict(), len(pipe.vae.config.block_out_channels)),
        text(pipe.text_encoder.state_dict()),
    ]
    save_file({name: weight.contiguous() for part in parts for name, weight in part.items()}, path)
    return path
