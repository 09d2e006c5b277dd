"""The bundled feature extractor: a small classifier of MNIST digits, and the reference statistics of real digits in its features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ..files import load_tensors
from ..metrics.features import FeatureStatistics
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
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if metadata.get("architecture") != ARCHITECTURE:
        raise ValueError(f"{str(path)!r} holds architecture {metadata.get('architecture')!r}, wanted {ARCHITECTURE!r}; train it again.")
    if {name: tensor.shape for name, tensor in tensors.items()} != wanted:
        raise ValueError(f"{str(path)!r} holds other weights than {ARCHITECTURE!r} has; train it again.")
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
    try:
        held_out = tensors["held_out"].long()
        scatter = tensors["covariance"] * (len(held_out) - 1)
        return Reference(
            statistics=FeatureStatistics(len(held_out), tensors["mean"], scatter, str(metadata["extractor"])),
            features=tensors["features"].float(),
            images=digits_to_images(tensors["images"]),
            labels=tensors["labels"].long(),
            held_out=held_out,
        )
    except KeyError as error:
        raise ValueError(f"{str(path)!r} lacks {error.args[0]!r}; train the extractor again.") from error
