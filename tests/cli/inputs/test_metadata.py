"""Prompts out of files as A1111, Forge and ComfyUI write them."""

from __future__ import annotations

import json

import pytest
from PIL import ExifTags, Image, PngImagePlugin

from uncertainty_nodes.cli.shared.inputs.metadata import prompt_in

A1111 = "a cat, <lora:soft:1>\nin two lines\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Seed: 1, Size: 64x64"
WORDS = "a cat, <lora:soft:1>\nin two lines"


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


PLAIN = {
    "3": node("KSampler", seed=1, model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0]),
    "4": node("CheckpointLoaderSimple", ckpt_name="a.safetensors"),
    "5": node("EmptyLatentImage", width=64, height=64, batch_size=1),
    "6": node("CLIPTextEncode", text="a red fox", clip=["4", 1]),
    "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
    "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    "9": node("SaveImage", filename_prefix="x", images=["8", 0]),
}
WIRED = PLAIN | {"6": node("CLIPTextEncode", text=["10", 0], clip=["4", 1]), "10": node("PrimitiveString", value="a red fox")}
CONTROLLED = PLAIN | {
    "3": node("KSampler", positive=["11", 0], negative=["11", 1], latent_image=["5", 0]),
    "11": node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], image=["12", 0]),
    "12": node("LoadImage", image="x.png"),
}
FLUX = PLAIN | {
    "8": node("VAEDecode", samples=["13", 0], vae=["4", 2]),
    "13": node("SamplerCustomAdvanced", noise=["14", 0], guider=["15", 0], latent_image=["5", 0]),
    "14": node("RandomNoise", noise_seed=1),
    "15": node("BasicGuider", model=["4", 0], conditioning=["16", 0]),
    "16": node("FluxGuidance", conditioning=["6", 0], guidance=3.5),
}
TWO_STAGES = PLAIN | {
    "9": node("SaveImage", images=["28", 0]),
    "28": node("VAEDecode", samples=["23", 0]),
    "23": node("KSampler", positive=["26", 0], negative=["7", 0], latent_image=["3", 0]),
    "26": node("CLIPTextEncodeSDXL", text_g="a blue fox", text_l="x", clip=["4", 1]),
}
LOOP = PLAIN | {"6": node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["3", 0])}


def save_png(path, **texts):
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def test_a1111_in_a_png(tmp_path):
    assert prompt_in(save_png(tmp_path / "a.png", parameters=A1111)) == WORDS
    assert prompt_in(save_png(tmp_path / "b.png", parameters="Negative prompt: x\nSteps: 1")) is None


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize("code", [b"UNICODE\0" + A1111.encode("utf-16-be"), b"ASCII\0\0\0" + A1111.encode()])
def test_a1111_in_exif(tmp_path, suffix, code):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = code
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    assert prompt_in(path) == WORDS


@pytest.mark.parametrize(
    ("graph", "words"),
    [(PLAIN, "a red fox"), (WIRED, "a red fox"), (CONTROLLED, "a red fox"), (FLUX, "a red fox"), (TWO_STAGES, "a blue fox"), (LOOP, None)],
)
def test_comfyui_in_a_png_and_a_webp(tmp_path, graph, words):
    assert prompt_in(save_png(tmp_path / "a.png", prompt=json.dumps(graph), workflow="{}")) == words
    exif = Image.Exif()
    exif[0x0110], exif[0x010F] = f"prompt:{json.dumps(graph)}", "workflow:{}"  # as its SaveAnimatedWEBP does
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", exif=exif)
    assert prompt_in(tmp_path / "a.webp") == words


@pytest.mark.parametrize("text", ["{", "[]", '{"1": 2}', '{"1": {"class_type": "SaveImage"}}', '{"1": {"inputs": {"positive": ["1", 0]}}}'])
def test_another_prompt_is_none(tmp_path, text):
    assert prompt_in(save_png(tmp_path / "a.png", prompt=text)) is None


def test_a_picture_without_words_has_none_and_a_broken_one_is_a_sentence(tmp_path):
    assert prompt_in(save_png(tmp_path / "a.png")) is None
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="cannot identify image file"):
        prompt_in(tmp_path / "b.png")
