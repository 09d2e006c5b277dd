"""A random checkpoint in the layout of SD 1.5 that a web UI loads: a UNet of one level, the real sizes of text encoder and VAE.

The web UI's own classes say which weights there are; nothing is downloaded. ``make`` runs this file with its interpreter and its sources,
since the Python of the tests has neither.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from web_ui import WebUI

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
UNET_OF_A1111 = {"attention_resolutions": [1], "channel_mult": [1], "num_res_blocks": 1, "use_checkpoint": False}
TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12, "projection_dim": 768}
PREFIXES = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.")


def make(home: Path, python: str, path: Path) -> None:
    """Writes the checkpoint, by the classes of the web UI at ``home``."""
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


def modules_of_forge(home: Path) -> Iterator[torch.nn.Module]:
    from backend.nn.unet import IntegratedUNet2DConditionModel
    from backend.nn.vae import IntegratedAutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    configs = home / "backend/huggingface/runwayml/stable-diffusion-v1-5"
    yield IntegratedUNet2DConditionModel.from_config(UNET)
    yield IntegratedAutoencoderKL.from_config(IntegratedAutoencoderKL.load_config(str(configs / "vae")))
    yield CLIPTextModel(CLIPTextConfig.from_pretrained(str(configs / "text_encoder")))


def modules_of_a1111(home: Path, path: Path) -> Iterator[torch.nn.Module]:
    """A1111 reads the sizes from a file of the checkpoint's name, and from the folder of a tokenizer that this names."""
    from ldm.util import instantiate_from_config
    from omegaconf import OmegaConf
    from transformers import CLIPTextConfig, CLIPTextModel

    config = OmegaConf.load(home / "configs" / "v1-inference.yaml")
    parts: Any = config.model.params
    parts.unet_config.params.update(UNET_OF_A1111)
    folder = path.parent / "tokenizer"
    parts.cond_stage_config.params = {"version": str(folder)}
    OmegaConf.save(config, path.with_suffix(".yaml"))
    text = CLIPTextConfig(**TEXT)
    text.save_pretrained(folder)
    write_tokenizer(folder)
    yield instantiate_from_config(parts.unet_config)
    yield instantiate_from_config(parts.first_stage_config)
    yield CLIPTextModel(text)


def write_tokenizer(folder: Path) -> None:
    """CLIP's, from the merges that open_clip brings along, in the files that transformers reads."""
    from open_clip.tokenizer import SimpleTokenizer

    clip = SimpleTokenizer()
    words = {
        word.replace("<start_of_text>", "<|startoftext|>").replace("<end_of_text>", "<|endoftext|>"): i for word, i in clip.encoder.items()
    }
    merges = [" ".join(pair) for pair, _ in sorted(clip.bpe_ranks.items(), key=lambda item: item[1])]
    (folder / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")


def write(home: Path, path: Path, web_ui: WebUI) -> None:
    from safetensors.torch import save_file

    tensors = {}
    with torch.device("meta"):
        modules = list(modules_of_a1111(home, path) if web_ui is WebUI.A1111 else modules_of_forge(home))
    for seed, (module, prefix) in enumerate(zip(modules, PREFIXES, strict=True)):
        tensors |= fill(module, prefix, seed)
    save_file({name: weight for name, weight in tensors.items() if not name.endswith("position_ids")}, path)


if __name__ == "__main__":
    forge, target = Path(sys.argv[1]), Path(sys.argv[2])
    found = WebUI.at(forge)
    sys.argv = [sys.argv[0], *found.on_processor]
    folders = ("packages_3rdparty", "modules_forge/packages", "repositories/stable-diffusion-stability-ai")
    sys.path[:0] = [str(forge), *(str(forge / folder) for folder in folders if (forge / folder).is_dir())]
    write(forge, target, found)
