"""A random checkpoint in the layout of SD 1.5 that Forge's own loader detects: a UNet of one level, the real sizes of text encoder and VAE.

Forge's own classes say which weights there are; nothing is downloaded. ``make`` runs this file with the interpreter and the sources of a
Forge, since the Python of the tests has neither.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

NAME = "tiny_sd15.safetensors"
UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [1],
    "channel_mult": [1],
    "transformer_depth": [1],
    "transformer_depth_output": [1, 1],
    "transformer_depth_middle": 1,
    "context_dim": 768,
    "num_heads": 8,
    "num_head_channels": -1,
    "use_spatial_transformer": True,
}


def is_neo(home: Path) -> bool:
    """Whether it is Forge Neo, the fork that lives on: other names on its command line, no upscaler of latents."""
    arguments = home / "modules" / "cmd_args.py"
    return arguments.is_file() and "--ckpt-dirs" in arguments.read_text(encoding="utf-8")


def make(home: Path, python: str, path: Path) -> None:
    """Writes the checkpoint, by the classes of the Forge at ``home``."""
    done = subprocess.run([python, __file__, str(home), str(path)], cwd=home, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the tiny checkpoint could not be made:\n{done.stderr[-3000:]}")


def fill(module: torch.nn.Module, prefix: str, seed: int) -> dict[str, torch.Tensor]:
    """Weights at 0.7 / sqrt(fan_in), so that signals neither die nor explode; norms near one, biases near zero. float16."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, weight in module.state_dict().items():
        noise = torch.randn(weight.shape, generator=generator)
        if name.endswith("bias"):
            noise = 0.02 * noise
        elif noise.ndim > 1:
            noise = 0.7 * noise / noise[0].numel() ** 0.5
        else:
            noise = 1 + 0.02 * noise
        weights[prefix + name] = noise.half()
    return weights


def write(home: Path, path: Path) -> None:
    from backend.nn.unet import IntegratedUNet2DConditionModel
    from backend.nn.vae import IntegratedAutoencoderKL
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel

    configs = home / "backend/huggingface/runwayml/stable-diffusion-v1-5"
    with torch.device("meta"):
        unet = IntegratedUNet2DConditionModel.from_config(UNET)
        vae = IntegratedAutoencoderKL.from_config(IntegratedAutoencoderKL.load_config(str(configs / "vae")))
        clip = CLIPTextModel(CLIPTextConfig.from_pretrained(str(configs / "text_encoder")))
    parts = [(unet, "model.diffusion_model."), (vae, "first_stage_model."), (clip, "cond_stage_model.transformer.")]
    tensors = {}
    for seed, (module, prefix) in enumerate(parts):
        tensors |= fill(module, prefix, seed)
    save_file({name: weight for name, weight in tensors.items() if not name.endswith("position_ids")}, path)


if __name__ == "__main__":
    forge, target = Path(sys.argv[1]), Path(sys.argv[2])
    sys.argv = [sys.argv[0], "--cpu" if is_neo(forge) else "--always-cpu"]  # which Forge's modules read
    sys.path[:0] = [str(forge), str(forge / "packages_3rdparty"), str(forge / "modules_forge/packages")]
    write(forge, target)
