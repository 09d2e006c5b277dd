"""Random checkpoints of the real architectures, small enough for a CPU, that ComfyUI's own loaders detect.

ComfyUI's own classes say which weights there are; nothing is downloaded. ``make`` runs this file with the interpreter and
the sources of a ComfyUI, since the Python of the tests may have neither.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

SD3 = "tiny_sd3.safetensors"  # MMDiT, flow matching, 16 channels, context 4096, pooled 2048
SD3_LORA = "tiny_sd3_lora.safetensors"  # rank 2, on the attention of both blocks
SD15 = "tiny_sd15.safetensors"  # UNet in the layout of SD 1.5, eps (v with the stock ModelSamplingDiscrete), 4 channels, context 768
SD15_CONTROL = "tiny_sd15_control.safetensors"  # ControlNet for SD15, hint in RGB
WAN = "tiny_wan.safetensors"  # Wan 2.1 text to video, flow matching, 5-D latents of 16 channels, context 4096
SD3_LORAS = [f"tiny_sd3_lora_{i}.safetensors" for i in range(3)]  # as SD3_LORA, to make an ensemble of
SD3_LORA_WIDE = "tiny_sd3_lora_wide.safetensors"  # the same names, the shapes of a larger model
FLUX_LORA = "tiny_flux_lora.safetensors"  # for the nodes UQTest_TinyFlux and UQTest_TinyClip: changes both
EMBEDDINGS = [f"tiny_embedding_{i}.safetensors" for i in range(2)]  # two tokens, for UQTest_TinyClip
EMBEDDING_WIDE = "tiny_embedding_wide.safetensors"  # for a text encoder of width 768
TAESD = "tiny_taesd.safetensors"  # decoder for 4 channels, loaded by VAELoader

Shapes = Mapping[str, tuple[int, ...]]


def make(home: Path, python: str, models: Path) -> None:
    """Writes every checkpoint below ``models``, by the classes of the ComfyUI at ``home``."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([python, __file__, str(models)], cwd=home, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the tiny checkpoints could not be made:\n{done.stderr[-3000:]}")


def fill(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    """Weights at 0.7 / sqrt(fan_in), so that signals neither die nor explode; norms near one, biases near zero. float16."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("bias"):
            noise = 0.02 * noise
        elif noise.ndim > 1:
            noise = 0.7 * noise / noise[0].numel() ** 0.5
        else:
            noise = 1 + 0.02 * noise
        weights[name] = noise.half()
    return weights


def of(module: torch.nn.Module, prefix: str = "") -> Shapes:
    return {prefix + name: tuple(weight.shape) for name, weight in module.state_dict().items()}


def sd3(operations: Any) -> Shapes:
    from comfy.ldm.modules.diffusionmodules.mmdit import OpenAISignatureMMDITWrapper

    context = {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 128}}
    sizes = {"depth": 2, "num_patches": 32 * 32, "pos_embed_max_size": 32, "adm_in_channels": 2048, "context_embedder_config": context}
    return of(OpenAISignatureMMDITWrapper(None, in_channels=16, out_channels=16, qk_norm="rms", operations=operations, **sizes))


def sd3_lora(operations: Any) -> Shapes:
    shapes = {}
    for block in range(2):
        for layer, width in (("qkv", 384), ("proj", 128)):
            name = f"diffusion_model.joint_blocks.{block}.x_block.attn.{layer}"
            shapes |= {f"{name}.lora_down.weight": (2, 128), f"{name}.lora_up.weight": (width, 2)}
    return shapes


def sd3_lora_wide(operations: Any) -> Shapes:
    return {name: tuple(3 * n if n > 2 else n for n in shape) for name, shape in sd3_lora(operations).items()}


def flux_lora(operations: Any) -> Shapes:
    model, text = "diffusion_model.double_blocks.0.img_mlp.0", "text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1"
    sizes = {model: (256, 128), text: (96, 64)}
    return {
        f"{name}.lora_{end}.weight": (2, ins) if end == "down" else (outs, 2)
        for name, (outs, ins) in sizes.items()
        for end in ("down", "up")
    }


def embedding(width: int) -> Callable[[Any], Shapes]:
    return lambda operations: {"clip_l": (2, width)}


UNET = {"image_size": 32, "in_channels": 4, "model_channels": 320, "num_res_blocks": [1], "channel_mult": [1], "num_heads": 8}
UNET |= {"use_spatial_transformer": True, "transformer_depth": [1], "transformer_depth_middle": 1, "context_dim": 768}


def sd15(operations: Any) -> Shapes:
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    return of(UNetModel(out_channels=4, transformer_depth_output=[1, 1], operations=operations, **UNET))


def sd15_control(operations: Any) -> Shapes:
    from comfy.cldm.cldm import ControlNet

    return of(ControlNet(hint_channels=3, operations=operations, **UNET))


def wan(operations: Any) -> Shapes:
    from comfy.ldm.wan.model import WanModel

    return of(WanModel(dim=128, ffn_dim=256, num_heads=1, num_layers=2, operations=operations))


def taesd(operations: Any) -> Shapes:
    from comfy.taesd.taesd import Decoder

    return of(Decoder(latent_channels=4), "taesd_decoder.")


FILES = {
    f"diffusion_models/{SD3}": sd3,
    f"diffusion_models/{SD15}": sd15,
    f"diffusion_models/{WAN}": wan,
    f"loras/{SD3_LORA}": sd3_lora,
    f"controlnet/{SD15_CONTROL}": sd15_control,
    f"vae/{TAESD}": taesd,
    **{f"loras/{name}": sd3_lora for name in SD3_LORAS},
    f"loras/{SD3_LORA_WIDE}": sd3_lora_wide,
    f"loras/{FLUX_LORA}": flux_lora,
    **{f"embeddings/{name}": embedding(64) for name in EMBEDDINGS},
    f"embeddings/{EMBEDDING_WIDE}": embedding(768),
}


def main(models: Path) -> None:
    from comfy.cli_args import args

    args.cpu = True  # before model_management looks for a GPU
    import comfy.ops

    for seed, (name, shapes) in enumerate(FILES.items()):
        path = models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(fill(shapes(comfy.ops.disable_weight_init), seed), path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
