"""Train the bundled feature extractor on MNIST and measure its reference statistics on digits it did not see.

    python benchmarks/bundle/train_extractor.py mnist_train.npz --out demo_model

The file holds ``x`` uint8 (60000, 28, 28) and ``y`` (60000,). The last 10,000 of a seeded permutation are held out.
Same data, seed, threads and torch version: same weights.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from uncertainty_nodes.core.demo.extractor import (
    ARCHITECTURE,
    EXTRACTOR_KIND,
    REFERENCE_KIND,
    DigitClassifier,
    digits_to_images,
    load_extractor,
)
from uncertainty_nodes.core.demo.network import FOLDER
from uncertainty_nodes.core.files import save_tensors
from uncertainty_nodes.core.metrics.features import FeatureStatistics

log = logging.getLogger("train_extractor")

HELD_OUT, KEPT_FEATURES, KEPT_IMAGES = 10_000, 2_000, 512


def split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices for training and held-out ones. RandomState, because its stream is frozen for good across numpy versions."""
    order = np.random.RandomState(seed).permutation(count)
    return order[:-HELD_OUT], order[-HELD_OUT:]


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mild random affine maps (10 degrees, 10 % scale, 2 pixels), contrast, and noise, so that slightly odd samples stay digits."""
    n = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(n).uniform_(low, high, generator=generator)

    angle, scale = uniform(-math.pi / 18, math.pi / 18), uniform(0.9, 1.1)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rows = torch.stack([cos, -sin, uniform(-0.125, 0.125), sin, cos, uniform(-0.125, 0.125)], dim=1)
    grid = nn.functional.affine_grid(rows.view(n, 2, 3), list(images.shape), align_corners=False)
    moved = nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    contrast, spread = uniform(0.8, 1.0).view(n, 1, 1, 1), uniform(0.0, 0.15).view(n, 1, 1, 1)
    return (moved + 1) * contrast - 1 + spread * torch.randn(moved.shape, generator=generator)


def train(images: Tensor, labels: Tensor, epochs: int, seed: int, batch: int = 128) -> DigitClassifier:
    """AdamW with a one-cycle learning rate; images (N, 1, 32, 32), labels (N,)."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = DigitClassifier().train()
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    bar = tqdm(total=steps, unit="step")
    for epoch in range(epochs):
        order, losses = torch.randperm(len(images), generator=generator), []
        for chosen in order[: steps // epochs * batch].split(batch):
            loss = nn.functional.cross_entropy(model(augment(images[chosen], generator)), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            bar.update()
        log.info("epoch %d: loss %.4f", epoch + 1, float(np.mean(losses)))
    bar.close()
    return model.eval()


@torch.inference_mode()
def evaluate(model: DigitClassifier, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Accuracy and features (N, D)."""
    features = torch.cat([model.features(part) for part in images.split(500)])
    return (model.head(features).argmax(1) == labels).float().mean().item(), features


def half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="npz file of the MNIST training digits")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for extractor.safetensors and reference.safetensors")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights, the order and the augmentation")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    options = parse()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    with np.load(options.data) as data:
        digits, labels = torch.from_numpy(data["x"]), torch.from_numpy(data["y"]).long()
    seen, unseen = (torch.from_numpy(part) for part in split(len(digits), options.seed))

    started = time.perf_counter()
    model = train(digits_to_images(digits[seen]), labels[seen], options.epochs, options.seed)
    seconds = time.perf_counter() - started

    unseen_images = digits_to_images(digits[unseen])
    accuracy, _ = evaluate(model, unseen_images, labels[unseen])
    description = f"last {len(unseen)} of numpy RandomState({options.seed}).permutation({len(digits)}) of the MNIST training split"
    facts = {"architecture": ARCHITECTURE, "held_out": description, "seed": options.seed, "epochs": options.epochs}
    facts |= {"accuracy_held_out": accuracy, "seconds": round(seconds), "threads": options.threads, "torch": torch.__version__}
    save_tensors(options.out / "extractor.safetensors", half(model.state_dict()), EXTRACTOR_KIND, 1, facts)

    # the statistics belong to the weights as they are stored
    stored_accuracy, features = evaluate(load_extractor(options.out / "extractor.safetensors"), unseen_images, labels[unseen])
    statistics = FeatureStatistics.of(features, ARCHITECTURE)
    reference = {"mean": statistics.mean, "covariance": statistics.covariance}
    reference |= {"features": features[:KEPT_FEATURES].half(), "held_out": unseen.int()}
    reference |= {"images": digits[unseen][:KEPT_IMAGES], "labels": labels[unseen][:KEPT_IMAGES].to(torch.uint8)}
    origin = {"data": "MNIST, LeCun, Cortes and Burges, CC BY-SA 3.0", "held_out": description, "extractor": ARCHITECTURE}
    save_tensors(options.out / "reference.safetensors", reference, REFERENCE_KIND, 1, origin)
    log.info("accuracy on %d held-out digits: %.4f, %.4f as stored; %.0f s", len(unseen), accuracy, stored_accuracy, seconds)


if __name__ == "__main__":
    main()
