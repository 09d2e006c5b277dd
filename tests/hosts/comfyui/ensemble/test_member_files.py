"""Files as members of an ensemble in a real ComfyUI: each kind takes effect or is refused, and any name can be written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import tiny_checkpoints as tiny
from comfy_client import PromptFailed
from comfy_ensembles import ensemble, found, sampled, write_member
from comfy_scenes import scene
from comfy_server import Server
from comfy_uncertainty import save, save_uncertainty

LAYER = "diffusion_model.joint_blocks.0.x_block.attn.proj"  # 128 x 128
TEXT = "text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1"  # 96 x 64


def random(*shape: int) -> Tensor:
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


KINDS: dict[str, Callable[[str, int, int], dict[str, Tensor]]] = {
    "lora": lambda k, o, i: {f"{k}.lora_up.weight": random(o, 2), f"{k}.lora_down.weight": random(2, i)},
    "dora": lambda k, o, i: KINDS["lora"](k, o, i) | {f"{k}.dora_scale": random(1, i)},
    "loha": lambda k, o, i: {
        f"{k}.hada_w1_a": random(o, 2),
        f"{k}.hada_w1_b": random(2, i),
        f"{k}.hada_w2_a": random(o, 3),
        f"{k}.hada_w2_b": random(3, i),
    },
    "lokr": lambda k, o, i: {f"{k}.lokr_w1": random(4, 4), f"{k}.lokr_w2": random(o // 4, i // 4)},
    "glora": lambda k, o, i: {
        f"{k}.a1.weight": random(i, 2),
        f"{k}.a2.weight": random(2, i),
        f"{k}.b1.weight": random(o, 2),
        f"{k}.b2.weight": random(2, i),
    },
    "oft": lambda k, o, i: {f"{k}.oft_blocks": random(o // 16, 16, 16), f"{k}.alpha": torch.tensor(0.5)},
    "boft": lambda k, o, i: {f"{k}.oft_blocks": random(2, o // 16, 16, 16), f"{k}.alpha": torch.tensor(0.5)},
    "diff": lambda k, o, i: {f"{k}.diff": random(o, i)},
    "bias": lambda k, o, i: {f"{k}.diff_b": random(o)},
    "norm": lambda k, o, i: {f"{k}.w_norm": random(o, i), f"{k}.b_norm": random(o)},
    "set": lambda k, o, i: {f"{k}.set_weight": random(o, i)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_lora_that_fits_takes_effect(comfy: Server, kind: str) -> None:
    s, name = scene("flow"), write_member(comfy, f"loras/{kind}_model.safetensors", KINDS[kind](LAYER, 128, 128))
    on_model = save_uncertainty(s, sampled(s, ensemble(s, s.positive, members=name), s.positive)[1])
    assert found(comfy, comfy.run(s.graph), on_model)["scores"][0] > 0
    s, name = scene("flux"), write_member(comfy, f"loras/{kind}_text.safetensors", KINDS[kind](TEXT, 96, 64))
    clip = s.graph.node("UQTest_TinyClip", seed=1)
    plain = s.graph.node("CLIPTextEncode", clip=clip, text="a photo")
    on_text = save_uncertainty(s, sampled(s, ensemble(s, plain, clip=clip, members=name, prompt="a photo"))[1])
    assert found(comfy, comfy.run(s.graph), on_text)["scores"][0] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_lora_that_does_not_fit_is_refused(comfy: Server, kind: str) -> None:
    s, name = scene("flow"), write_member(comfy, f"loras/{kind}_model_wide.safetensors", KINDS[kind](LAYER, 192, 192))
    save(s, sampled(s, ensemble(s, s.positive, members=name), s.positive))
    with pytest.raises(PromptFailed, match=f"LoRA '{name}' is for another model: its weights for {LAYER}"):
        comfy.run(s.graph)
    s, name = scene("flux"), write_member(comfy, f"loras/{kind}_text_wide.safetensors", KINDS[kind](TEXT, 192, 128))
    clip = s.graph.node("UQTest_TinyClip", seed=1)
    save(s, sampled(s, ensemble(s, clip=clip, members=name, prompt="a photo")))
    with pytest.raises(PromptFailed, match=f"LoRA '{name}' is for another text encoder: its weights for "):
        comfy.run(s.graph)


BROKEN = {
    "nan": (KINDS["lora"](LAYER, 128, 128) | {f"{LAYER}.lora_up.weight": torch.full((128, 2), torch.nan)}, "holds NaN or infinite values"),
    "infinite": (KINDS["loha"](LAYER, 128, 128) | {f"{LAYER}.hada_w2_b": torch.full((3, 128), torch.inf)}, "holds NaN or infinite values"),
    "alpha": (KINDS["lora"](LAYER, 128, 128) | {f"{LAYER}.alpha": torch.tensor(torch.nan)}, "holds NaN or infinite values"),
    "empty": (b"", "can't be read as a file of weights: it is empty or damaged"),
    "page": (b"<!DOCTYPE html><html><body>Not found</body></html>", "can't be read as a file of weights"),
    "text alone": (KINDS["lora"](TEXT, 96, 64), "is for the text encoder alone: connect clip, and write the prompt"),
    "foreign text": (KINDS["lora"](LAYER.replace("0", "9"), 128, 128) | KINDS["lora"](TEXT, 96, 64), "has no weight that this model knows"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_one_bad_file_among_members_is_named(comfy: Server, case: str) -> None:
    content, sentence = BROKEN[case]
    name = write_member(comfy, f"loras/broken {case}.safetensors", content)
    s = scene("flow")
    members = "\n".join([tiny.SD3_LORAS[0], name, tiny.SD3_LORAS[1]])
    save(s, sampled(s, ensemble(s, members=members), s.positive))
    with pytest.raises(PromptFailed, match=f"'{name}'.*{sentence}"):
        comfy.run(s.graph)


NAMED = {
    "anime, v2.safetensors": 1,
    "anime, v2": 1,
    "anime, v2:0.5, style, anime, v2.safetensors:0.25": 3,
    "styles/ink": 1,
    "styles\\ink": 1,
    "styles\\ink.safetensors, style": 2,
    "style,style:0.5,\nink": 3,
}


@pytest.mark.parametrize("members", NAMED)
def test_every_name_can_be_written(comfy: Server, members: str) -> None:
    for name in ("anime, v2", "styles/ink", "style"):
        write_member(comfy, f"loras/{name}.safetensors", KINDS["lora"](LAYER, 128, 128))
    s = scene("flow")
    information = save_uncertainty(s, sampled(s, ensemble(s, members=members), s.positive)[1])
    made = found(comfy, comfy.run(s.graph), information)["provenance"]["members"]
    assert made.count("safetensors:") == NAMED[members]


EMBEDDED = {
    "glued": ("a photo,embedding:*", {"clip_l": random(2, 64)}, "is not read as an embedding in the prompt: put a space before"),
    "nan": ("a photo", {"clip_l": torch.full((2, 64), torch.nan)}, "holds NaN or infinite values"),
    "empty": ("a photo", b"", "can't be read as a file of weights"),
}


@pytest.mark.parametrize("case", EMBEDDED)
def test_an_embedding_that_no_text_takes_in_is_refused(comfy: Server, case: str) -> None:
    prompt, content, sentence = EMBEDDED[case]
    name = write_member(comfy, f"embeddings/embedded_{case}.safetensors", content)
    s = scene("flux")
    clip = s.graph.node("UQTest_TinyClip", seed=1)
    save(s, sampled(s, ensemble(s, clip=clip, members=f"{tiny.EMBEDDINGS[0]}\n{name}" if case != "glued" else name, prompt=prompt)))
    with pytest.raises(PromptFailed, match=f"'{name}'.*{sentence}"):
        comfy.run(s.graph)


def test_an_embedding_with_parentheses_in_its_name_is_read(comfy: Server) -> None:
    name = write_member(comfy, "embeddings/word(v2).safetensors", {"clip_l": random(2, 64)})
    s = scene("flux")
    clip = s.graph.node("UQTest_TinyClip", seed=1)
    information = save_uncertainty(s, sampled(s, ensemble(s, clip=clip, members=f"{name}\n{tiny.EMBEDDINGS[0]}", prompt="a photo"))[1])
    assert found(comfy, comfy.run(s.graph), information)["scores"][0] > 0
