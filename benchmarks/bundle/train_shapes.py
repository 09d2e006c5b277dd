"""Train a tiny class-conditional model of drawn shapes, whose judge is a counting rule: python benchmarks/bundle/train_shapes.py

The pictures are made as they are needed (benchmarks/shared/other_models/shapes.py): 20,000 of one to five discs, red or blue. A DDPM of
0.7 million parameters of the digit model's architecture. Stops and resumes: a checkpoint every 100 steps. The benchmarks read what it
writes, out/shapes/model.safetensors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from uncertainty_nodes.benchmarks.bundle.trainer import Plan, Trainer
from uncertainty_nodes.benchmarks.shared.other_models.shapes import CLASSES, draw_shapes
from uncertainty_nodes.core.demo.network import read_config

WIDTHS = (16, 32, 64)
PICTURES = 20_000


def shapes_config() -> dict[str, dict[str, object]]:
    """The digit model's architecture, narrower and with three channels; the same process, by velocity.

    Where noise is strong, an error of eps comes out in the image up to 150 times larger (sigma / alpha), one of the velocity as it is: by
    eps this network drew no right picture after 5,000 steps.
    """
    config = read_config()
    own = {"in_channels": 3, "out_channels": 3, "block_out_channels": list(WIDTHS), "num_class_embeds": CLASSES + 1}
    return {"network": config["network"] | own, "process": config["process"] | {"prediction_type": "v_prediction"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/shapes"))
    parser.add_argument("--steps", type=int, default=1_600)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    labels = torch.arange(PICTURES) % CLASSES
    plan = Plan(a.out, a.steps, a.learning_rate, a.seed, no_class=CLASSES, flip=True, precision=torch.bfloat16)
    trainer = Trainer(plan, shapes_config())
    trainer.run(draw_shapes(labels, a.seed), labels)
    trainer.write(a.out / "model.safetensors", "shapes model")


if __name__ == "__main__":
    main()
