"""Saved pipelines are found as diffusers writes them: in one piece or in shards, whole or as a variant, as a whole or part by part."""

from __future__ import annotations

import shutil

import pytest
import torch

import tiny_text
from tiny_images import image_tower
from uncertainty_nodes.hosts.diffusers.last_layer.image_encoders import clip_encoder
from uncertainty_nodes.hosts.diffusers.load import load_pipeline, variant_of

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own deprecations
KINDS = ["sd", "sdxl", "sd3"]


def weights(pipe) -> dict[str, torch.Tensor]:
    networks = {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    return {f"{name}.{key}": value for name, part in networks.items() for key, value in part.state_dict().items()}


@pytest.mark.parametrize("variant", [None, "fp16", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_variant_is_found_by_its_file_names(tmp_path, kind, variant):
    saved = tiny_text.make(kind, tmp_path / "words")
    saved.save_pretrained(tmp_path / "pipe", variant=variant)
    loaded = load_pipeline(tmp_path / "pipe")
    for name, value in weights(saved).items():
        assert torch.equal(weights(loaded)[name], value)


@pytest.mark.parametrize("sharded", [True, False])
def test_half_weights_are_taken_up_to_the_precision_asked_for(tmp_path, sharded):
    saved = tiny_text.make("sd", tmp_path / "words").to(dtype=torch.float16)
    saved.save_pretrained(tmp_path / "pipe", variant="fp16", **({"max_shard_size": "20KB"} if sharded else {}))
    assert len(list((tmp_path / "pipe/unet").glob("*-of-*.safetensors"))) > 1 if sharded else True
    loaded = load_pipeline(tmp_path / "pipe")
    assert {p.dtype for p in loaded.unet.parameters()} == {torch.float32}
    assert torch.equal(loaded.unet.conv_in.weight, saved.unet.conv_in.weight.float())


def test_parts_without_the_variant_are_taken_plain(tmp_path):
    saved = tiny_text.make("sd", tmp_path / "words")
    saved.save_pretrained(tmp_path / "pipe", variant="fp16")
    shutil.rmtree(tmp_path / "pipe/vae")
    saved.vae.save_pretrained(tmp_path / "pipe/vae")
    assert torch.equal(load_pipeline(tmp_path / "pipe").vae.decoder.conv_in.weight, saved.vae.decoder.conv_in.weight)


def test_whole_weights_are_preferred(tmp_path):
    saved = tiny_text.make("sd", tmp_path / "words")
    saved.save_pretrained(tmp_path / "pipe")
    saved.to(dtype=torch.float16).save_pretrained(tmp_path / "pipe", variant="fp16")
    whole = tiny_text.make("sd", tmp_path / "words").unet.conv_in.weight
    assert torch.equal(load_pipeline(tmp_path / "pipe").unet.conv_in.weight, whole)


@pytest.mark.parametrize(
    ("files", "variant"),
    [
        (["diffusion_pytorch_model.safetensors"], None),
        (["diffusion_pytorch_model.fp16.safetensors"], "fp16"),
        (["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors", "model.safetensors.index.fp16.json"], "fp16"),
        (["model-00001-of-00002.fp16.safetensors"], "fp16"),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], None),
        (["model.fp16.safetensors", "model.bin"], "fp16"),
        (["model.fp16.safetensors", "model.safetensors"], None),
        (["model.non_ema.safetensors", "model.fp16.safetensors"], "fp16"),
        (["config.json", "pytorch_lora_weights.safetensors"], None),
        ([], None),
    ],
)
def test_file_names(tmp_path, files, variant):
    for name in files:
        (tmp_path / name).touch()
    assert variant_of([tmp_path]) == variant


def test_an_image_encoder_as_a_variant(tmp_path):
    tower = image_tower(16)
    tower.save_pretrained(tmp_path / "plain")
    tower.save_pretrained(tmp_path / "half", variant="fp16")
    assert (tmp_path / "half/model.fp16.safetensors").is_file()
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(clip_encoder(tmp_path / "half")(images), clip_encoder(tmp_path / "plain")(images))


def test_a_folder_of_parts_without_weights_is_a_sentence(tmp_path):
    tiny_text.make("sd", tmp_path / "words").save_pretrained(tmp_path / "pipe", variant="fp16")
    (tmp_path / "pipe/unet/diffusion_pytorch_model.fp16.safetensors").unlink()
    with pytest.raises(OSError, match="The pipeline in .* can't be loaded"):
        load_pipeline(tmp_path / "pipe")
