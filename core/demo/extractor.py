"""The bundled feature extractor: a small classifier of MNIST digits, and the reference statistics of real digits in its features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ..files import load_tensors
from ..metrics.features import FeatureStatistics
from ..values import check_spread, check_tensor, check_text, intact
from .network import FOLDER

EXTRACTOR_KIND = "feature extractor"
REFERENCE_KIND = "reference statistics"
ARCHITECTURE = "digit-cnn-64"


class DigitClassifier(nn.Module):
    """Three convolutions and a 64-dimensional layer; its activation is the feature vector.

    Images are (N, 1, 32, 32) in [-1, 1] (background -1), of any floating type; the network runs in float32 on its own device.
    Normalised before a smooth activation, so that no feature dies and covariances have full rank.
    """

    name = ARCHITECTURE  # stated beside every figure made with these features

    def __init__(self, dimensions: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_block(1, 16),  # 32 -> 16
            *_block(16, 32),  # 16 -> 8
            *_block(32, 64),  # 8 -> 4
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, dimensions, bias=False),
            nn.BatchNorm1d(dimensions),
            nn.SiLU(),
        )
        self.head = nn.Linear(dimensions, 10)

    def features(self, images: Tensor) -> Tensor:
        """images (N, 1, 32, 32) in [-1, 1] -> penultimate activations (N, 64), float32. Raises ValueError for any other shape."""
        if images.ndim != 4 or images.shape[1:] != (1, 32, 32):
            raise ValueError(
                f"images must be (N, 1, 32, 32) in [-1, 1] for the bundled extractor, got shape {tuple(images.shape)}; "
                "make them grey and resize them first."
            )
        return self.body(images.float())

    def forward(self, images: Tensor) -> Tensor:
        """images (N, 1, 32, 32) in [-1, 1] -> logits of the digits 0 to 9, (N, 10)."""
        return self.head(self.features(images))


def _block(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False)
    return conv, nn.BatchNorm2d(channels_out), nn.SiLU(), nn.MaxPool2d(2)


def digits_to_images(digits: Tensor) -> Tensor:
    """Raw digits (N, 28, 28), 0 to 255 -> images (N, 1, 32, 32) in [-1, 1], padded with the background, as the demo model draws them."""
    return nn.functional.pad(digits[:, None].float() / 127.5 - 1, (2, 2, 2, 2), value=-1.0)


def load_extractor(path: str | Path | None = None) -> DigitClassifier:
    """The trained extractor, on the CPU, float32, in eval mode and frozen; the bundled one when no path is given.

    Raises FileNotFoundError for a missing file, ValueError for a truncated or foreign one or another architecture.
    """
    path = FOLDER / "extractor.safetensors" if path is None else Path(path)
    tensors, metadata = load_tensors(path, EXTRACTOR_KIND)
    model = DigitClassifier()
    weights = model.state_dict()
    if metadata.get("architecture") != ARCHITECTURE:
        raise ValueError(f"{str(path)!r} holds architecture {metadata.get('architecture')!r}, wanted {ARCHITECTURE!r}; train it again.")
    if {name: tensor.shape for name, tensor in tensors.items()} != {name: tensor.shape for name, tensor in weights.items()}:
        raise ValueError(f"{str(path)!r} holds other weights than {ARCHITECTURE!r} has; train it again.")
    with intact(path, EXTRACTOR_KIND):
        for name, tensor in tensors.items():
            whole, variance = not weights[name].is_floating_point(), name.endswith("running_var")
            check_tensor(name, tensor, low=0 if whole or variance else -math.inf, whole=whole)
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)


@dataclass(frozen=True, eq=False)
class Reference:
    """Real digits that the extractor did not see in training, in its features (D = 64).

    statistics: mean and covariance of the features of all N held-out digits; what FID compares with. Carries the extractor's name.
    features (K, D): float32, of the first K held-out digits, for precision and recall; the first rows belong to ``images``.
    images (n, 1, 32, 32) in [-1, 1], labels (n,) int64: the first n held-out digits themselves.
    held_out (N,) int64: their indices in the MNIST training file.
    """

    statistics: FeatureStatistics
    features: Tensor
    images: Tensor
    labels: Tensor
    held_out: Tensor


def load_reference(path: str | Path | None = None) -> Reference:
    """The bundled reference, or the one at ``path``.

    Raises FileNotFoundError for a missing file, ValueError for a truncated, foreign or incomplete one.
    """
    path = FOLDER / "reference.safetensors" if path is None else Path(path)
    tensors, metadata = load_tensors(path, REFERENCE_KIND)
    with intact(path, REFERENCE_KIND):
        held_out = check_tensor("held_out", tensors["held_out"], (None,), low=0, whole=True).long()
        mean = check_tensor("mean", tensors["mean"], (None,)).double()
        scatter = check_spread("covariance", tensors["covariance"], len(mean)).double() * (len(held_out) - 1)
        features = check_tensor("features", tensors["features"], (None, len(mean))).float()
        images = check_tensor("images", tensors["images"], (None, 28, 28), low=0, high=255, whole=True)
        labels = check_tensor("labels", tensors["labels"], (len(images),), low=0, high=9, whole=True).long()
        if not len(images) <= len(features) <= len(held_out) or len(held_out.unique()) < len(held_out):
            counts = f"{len(images)} images, {len(features)} features and {len(held_out)} digits"
            raise ValueError(f"it has {counts}, some of them twice or missing")
        statistics = FeatureStatistics(len(held_out), mean, scatter, check_text("extractor", metadata["extractor"]))
        return Reference(statistics, features, digits_to_images(images), labels, held_out)
