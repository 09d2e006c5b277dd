"""Image encoders against what the libraries' own preprocessing makes of the same pictures."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tiny_images import image_tower
from tiny_pipelines import embeddings
from uncertainty_nodes.hosts.diffusers.last_layer.image_encoders import clip_encoder, open_clip_encoder, prepare_pixels

SIDE = 32


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A tiny image tower, as saved, and where."""
    tower, folder = image_tower(SIDE), tmp_path_factory.mktemp("clip")
    tower.save_pretrained(folder)
    return tower, folder


@pytest.mark.parametrize(("height", "width"), [(SIDE, SIDE), (SIDE, 48), (90, 64)])
def test_clip_sees_what_its_own_processor_shows_it(clip, height, width):
    tower, folder = clip
    rough = torch.nn.functional.interpolate(embeddings(2, 3, 6, 6), (height, width), mode="bicubic").sigmoid()
    images = (rough * 255).round() / 255
    pictures = [Image.fromarray(np.asarray((i * 255).round().byte().permute(1, 2, 0))) for i in images]
    shown = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})(pictures, return_tensors="pt")
    expected = tower(**shown).image_embeds.detach()
    exact = (height, width) != (90, 64)  # else resized, where the processor rounds to bytes
    torch.testing.assert_close(clip_encoder(folder)(images), expected, rtol=0, atol=1e-5 if exact else 2e-2)


def test_grey_images_are_seen_as_three_equal_channels(clip):
    grey = embeddings(2, 1, SIDE, SIDE).sigmoid()
    encode = clip_encoder(clip[1])
    assert torch.equal(encode(grey), encode(grey.expand(-1, 3, -1, -1)))


def test_what_is_no_image_or_no_model_is_refused(clip, tmp_path):
    for shape in ((2, 4, 8, 8), (2, 64), (0, 3, 8, 8)):
        with pytest.raises(ValueError, match=r"images of shape \(B, 1 or 3, H, W\) in \[0, 1\], got .*; decode latents first"):
            clip_encoder(clip[1])(torch.zeros(shape))
    with pytest.raises(OSError, match="There is no CLIP image model in .* give a folder that save_pretrained"):
        clip_encoder(tmp_path)


def test_without_the_library_the_way_out_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match="needs transformers: pip install transformers, or use the bundled one"):
        clip_encoder(tmp_path)
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ModuleNotFoundError, match="needs open_clip: pip install open_clip_torch, or use the bundled one"):
        open_clip_encoder("ViT-B-32", tmp_path / "weights.pt")


class FakeClip(nn.Module):
    """With open_clip's names: its mean and deviation, and one number a channel as features."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = SimpleNamespace(image_size=(SIDE, SIDE), image_mean=(0.5, 0.4, 0.3), image_std=(0.2, 0.2, 0.1))

    def encode_image(self, images):
        assert images.shape[1:] == (3, SIDE, SIDE)
        return images.mean(dim=(2, 3))


def test_open_clip_is_given_its_own_normalisation(monkeypatch, tmp_path):
    fake, asked = ModuleType("open_clip"), []
    fake.create_model = lambda name, pretrained, device: asked.append((name, pretrained)) or FakeClip()
    monkeypatch.setitem(sys.modules, "open_clip", fake)
    with pytest.raises(FileNotFoundError, match="There is no file .* give the weights of ViT-B-32"):
        open_clip_encoder("ViT-B-32", tmp_path / "weights.pt")
    (tmp_path / "weights.pt").touch()
    features = open_clip_encoder("ViT-B-32", tmp_path / "weights.pt")(torch.full((1, 3, 40, SIDE), 0.5))
    assert asked == [("ViT-B-32", str(tmp_path / "weights.pt"))]
    torch.testing.assert_close(features, torch.tensor([[0.0, 0.5, 2.0]]), rtol=0, atol=1e-5)


def test_the_middle_is_what_is_seen():
    image = torch.zeros(1, 3, 8, 24)
    image[..., 8:16] = 1
    assert torch.equal(prepare_pixels(image, 8, (0.0,) * 3, (1.0,) * 3), torch.ones(1, 3, 8, 8))
