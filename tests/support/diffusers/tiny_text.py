"""Tiny text encoders with random weights and a tokenizer of letters, so that prompts can be encoded without a download."""

from __future__ import annotations

import json
import string
from pathlib import Path

from diffusers import AutoencoderKL, DiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from tiny_pipelines import SIZE, sd, sd3, sdxl, seeded

TOKENS = 6


def tokenizer(folder: Path) -> CLIPTokenizer:
    ends = ["<|startoftext|>", "<|endoftext|>"]
    words = [letter + end for letter in string.ascii_lowercase for end in ("", "</w>")] + ends
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=TOKENS)


def encoder(width: int, projection: int | None = None, seed: int = 0) -> CLIPTextModel | CLIPTextModelWithProjection:
    sizes = {"hidden_size": width, "intermediate_size": width, "num_attention_heads": 2, "num_hidden_layers": 2, "vocab_size": 54}
    config = CLIPTextConfig(
        **sizes, max_position_embeddings=TOKENS, bos_token_id=52, eos_token_id=53, pad_token_id=53, projection_dim=projection or width
    )
    return seeded(lambda: (CLIPTextModelWithProjection if projection else CLIPTextModel)(config), seed)


def halving_vae() -> AutoencoderKL:
    """A latent pixel for every four of an image, shifted and scaled."""
    sizes = {"block_out_channels": (8, 8), "latent_channels": 4, "norm_num_groups": 4, "sample_size": 2 * SIZE}
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return seeded(lambda: AutoencoderKL(**sizes, **blocks, scaling_factor=0.5, shift_factor=0.25))


def make(kind: str, folder: Path) -> DiffusionPipeline:
    """A tiny "sd", "sdxl" or "sd3" that encodes its prompts itself."""
    words = tokenizer(folder)
    pipe = {"sd": sd, "sdxl": sdxl, "sd3": sd3}[kind]().pipe
    parts = {
        "sd": {"text_encoder": encoder(16), "tokenizer": words},
        "sdxl": {"text_encoder": encoder(4), "text_encoder_2": encoder(12, 12, 1), "tokenizer": words, "tokenizer_2": words},
        "sd3": {"text_encoder": encoder(8, 6), "text_encoder_2": encoder(8, 6, 1), "tokenizer": words, "tokenizer_2": words},
    }[kind]
    more = {"requires_safety_checker": False} if kind == "sd" else {}
    pipe = type(pipe)(**{**pipe.components, "vae": halving_vae(), **parts}, **more)
    pipe.set_progress_bar_config(disable=True)
    return pipe
