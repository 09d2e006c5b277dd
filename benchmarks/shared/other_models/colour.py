"""The colour model's judge: a small classifier of 32 x 32 photos whose features are the yardstick too, and the real photos' statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DModel
from torch import Tensor, nn

from uncertainty_nodes.benchmarks.bundle.train_colour import colour_config, picture_files, read_files
from uncertainty_nodes.benchmarks.bundle.train_extractor import split
from uncertainty_nodes.benchmarks.bundle.trainer import KIND as CHECKPOINT
from uncertainty_nodes.core.demo.extractor import Reference
from uncertainty_nodes.core.files import load_tensors
from uncertainty_nodes.core.metrics.features import FeatureStatistics
from uncertainty_nodes.hosts.diffusers.demo import starting_noise

JUDGE_KIND, MODEL_KIND = "colour judge", "colour model"
ARCHITECTURE = "colour-cnn-64"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
WIDTH = 48


class ColourJudge(nn.Module):
    """Two convolutions at each of three sizes and a 64-dimensional layer, whose activation is the feature vector.

    Images are (N, 3, 32, 32) in [-1, 1]. Normalised before a smooth activation, as the digits' judge is.
    """

    name = ARCHITECTURE

    def __init__(self, width: int = WIDTH, dimensions: int = 64) -> None:
        super().__init__()
        a, b, c = width, 2 * width, 4 * width
        self.body = nn.Sequential(
            *_block(3, a, 2),  # 32 -> 16
            *_block(a, b, 1),
            *_block(b, b, 1),
            *_block(b, c, 2),  # 16 -> 8
            *_block(c, c, 1),
            *_block(c, c, 2),  # 8 -> 4
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(c * 4, dimensions, bias=False),
            nn.BatchNorm1d(dimensions),
            nn.SiLU(),
        )
        self.head = nn.Linear(dimensions, len(CLASSES))

    def features(self, images: Tensor) -> Tensor:
        """(N, 3, 32, 32) -> (N, 64) float32"""
        return self.body(images.float())

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def _block(channels_in: int, channels_out: int, stride: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1, bias=False)
    return conv, nn.BatchNorm2d(channels_out), nn.SiLU()


def noise_of(count: int, first: int, seed: int) -> Tensor:
    """(count, 3, 32, 32): each image's from its own seeds."""
    return torch.cat([starting_noise(count, seed + 100 * channel, first) for channel in range(3)], dim=1)


def load_judge(path: Path, device: str | torch.device = "cpu") -> tuple[ColourJudge, Reference, dict[str, Any]]:
    """What train_colour_judge.py wrote: the judge, the held-out photos in its features, and what it says of its training."""
    if not path.exists():
        raise SystemExit(f"There is no {path}; run python benchmarks/bundle/train_colour_judge.py first.")
    tensors, about = load_tensors(path, JUDGE_KIND)
    judge = ColourJudge(len(tensors["judge.body.0.weight"]))
    judge.load_state_dict({name.removeprefix("judge."): t for name, t in tensors.items() if name.startswith("judge.")})
    count = int(about["held_out"])
    statistics = FeatureStatistics(count, tensors["mean"].double(), tensors["covariance"].double() * (count - 1), ARCHITECTURE)
    none = torch.empty(0)
    reference = Reference(statistics, tensors["features"].float(), none, none, none)
    return judge.to(device).eval().requires_grad_(False), reference, about


def load_colour(path: Path, device: str | torch.device = "cpu") -> tuple[UNet2DModel, DDIMScheduler, dict[str, Any]]:
    """The running mean of the weights: of a finished training, or of its checkpoint while it lasts."""
    if not path.exists():
        raise SystemExit(f"There is no {path}; run python benchmarks/bundle/train_colour.py first.")
    try:
        weights, about = load_tensors(path, MODEL_KIND)
    except ValueError:  # another kind
        tensors, about = load_tensors(path, CHECKPOINT)
        weights = {name.removeprefix("mean."): t for name, t in tensors.items() if name.startswith("mean.")}
        about = {"steps": about["step"], "final_loss": round(about["loss"], 4), "seconds": round(about["seconds"])}
    config = colour_config(len(weights["conv_in.weight"]))
    network = UNet2DModel(**config["network"])
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    network = network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    about = about | {"parameters": sum(p.numel() for p in network.parameters())}
    return network, DDIMScheduler(**config["process"], clip_sample=False), about


def held_out(folder: Path, count: int) -> tuple[Tensor, Tensor]:
    """The first ``count`` of the photos that neither the model nor its judge was trained on, and their classes."""
    files = picture_files(folder)
    return read_files([files[i] for i in split(len(files), 0)[1][:count]])
