"""One image of eight that is NaN or can't be read, for every command."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from PIL import Image

from tiny_images import write_pictures
from uncertainty_nodes.cli import main
from uncertainty_nodes.hosts.diffusers.images import PipelineModel

IMAGES = 8
places = pytest.mark.parametrize("bad", range(IMAGES))
batches = pytest.mark.parametrize("batch", [1, IMAGES])


def run(*arguments):
    return main([str(argument) for argument in arguments])


def spoil(monkeypatch, network, is_bad):
    """The rows of a network's call of which ``is_bad`` is true come out NaN, as from a network that overflows at them early."""
    forward = network.forward

    @functools.wraps(forward)  # its signature is looked at
    def spoiled(self, sample, *args, **kwargs):
        rows = is_bad(sample, *args, **kwargs).reshape(-1, *[1] * (sample.ndim - 1))
        return forward(self, torch.where(rows, torch.nan, sample), *args, **kwargs)

    monkeypatch.setattr(network, "forward", spoiled)


def spoil_latent(monkeypatch, path):
    """The VAE encodes this picture to NaN."""
    encode, bad = PipelineModel.encode, np.asarray(Image.open(path))

    def spoiled(self, pictures):
        rows = torch.tensor([np.array_equal(np.asarray(picture), bad) for picture in pictures])
        return torch.where(rows[:, None, None, None], torch.nan, encode(self, pictures))

    monkeypatch.setattr(PipelineModel, "encode", spoiled)


def begins_as(noise):
    """At any scale."""
    return lambda sample, *args, **kwargs: torch.cosine_similarity(sample.flatten(1), noise.to(sample).flatten(1)) > 0.99999


def is_of_class(label):
    return lambda sample, *args, class_labels, **kwargs: class_labels == label


def write_classes(folder, without=None):
    for i in range(IMAGES):
        if i != without:
            write_pictures(folder / str(i), 1, 32)
            pixels = np.random.default_rng(i).integers(0, 255, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / str(i) / "0.png")
    return folder


def break_picture(path):
    """One of three ways not to be an image."""
    whole = path.read_bytes()
    ways = (b"no picture", whole[: len(whole) // 2], b"")
    path.write_bytes(ways[int(path.parent.name) % len(ways)])
