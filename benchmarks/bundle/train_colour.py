"""Train a small class-conditional model of colour photos: python benchmarks/bundle/train_colour.py FOLDER --out out/colour

FOLDER holds one folder of 32 x 32 pictures a class (CIFAR-10: ten of 5,000). A DDPM of 6.1 million parameters, twice the
digit model's widths, by velocity as train_shapes.py; the pictures are mirrored at random, and the last 10,000 of a seeded permutation are
left out for judging. Computes in bfloat16: minutes on a GPU (--device cuda --batch 512), about 1.6 s a step of 64 on one core with
avx512_bf16. Stops and resumes: a checkpoint every --save-every steps, written whole; --start goes on from a finished model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uncertainty_nodes.benchmarks.bundle.train_extractor import split
from uncertainty_nodes.benchmarks.bundle.trainer import Plan, Trainer
from uncertainty_nodes.core.demo.network import read_config
from uncertainty_nodes.core.files import load_tensors

WIDTH = 48


def picture_files(folder: Path) -> list[tuple[Path, int]]:
    """Each picture and its class number, in the order of class names and file names."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    files = [(path, label) for label, group in enumerate(classes) for path in sorted(group.glob("*.jpg"))]
    if not files:
        raise SystemExit(f"{folder} holds no folders of .jpg pictures, one folder a class.")
    return files


def read_files(files: Sequence[tuple[Path, int]]) -> tuple[Tensor, Tensor]:
    """(N, 3, H, W) in [-1, 1] and class numbers (N,)."""
    pixels = torch.from_numpy(np.stack([np.asarray(Image.open(path).convert("RGB")) for path, _ in files]))
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1, torch.tensor([label for _, label in files])


def read_pictures(folder: Path) -> tuple[Tensor, Tensor]:
    """All of them."""
    return read_files(picture_files(folder))


def colour_config(width: int = WIDTH) -> dict[str, dict[str, object]]:
    """The digit model's architecture, ``width`` channels at its first size and with three of colour; the same process, by velocity."""
    config = read_config()
    wide = {"in_channels": 3, "out_channels": 3, "block_out_channels": [width, 2 * width, 4 * width], "norm_num_groups": 16}
    return {"network": config["network"] | wide, "process": config["process"] | {"prediction_type": "v_prediction"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="one folder of pictures a class")
    parser.add_argument("--out", type=Path, default=Path("out/colour"))
    parser.add_argument("--start", type=Path, help="a finished model.safetensors to go on from, with a new schedule")
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=64, help="pictures a step (default: %(default)s)")
    parser.add_argument("--warm-up", type=int, default=0, help="steps on which the learning rate rises (default: %(default)s)")
    parser.add_argument("--save-every", type=int, default=100, help="steps (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="the network by torch.compile first: worth its minute on a GPU")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    images, labels = read_pictures(a.folder)
    training, _ = split(len(images), 0)
    weights, pictures = None, 0
    if a.start is not None:
        weights, about = load_tensors(a.start, "colour model")
        pictures = about["pictures"]
    options = {"batch": a.batch, "warm_up": a.warm_up, "device": a.device, "save_every": a.save_every}
    options |= {"pictures": pictures, "compiled": a.compile}
    plan = Plan(a.out, a.steps, a.learning_rate, a.seed, flip=True, precision=torch.bfloat16, **options)
    trainer = Trainer(plan, colour_config(), weights)
    trainer.run(images[training], labels[training])
    trainer.write(a.out / "model.safetensors", "colour model")


if __name__ == "__main__":
    main()
